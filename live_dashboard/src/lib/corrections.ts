/** What a correction changed, in words. */

import type { Unit } from "../live/protocol";
import { inUnit } from "./format";
import type { CorrectedSums } from "./records";

export const CORRECTED: { field: keyof CorrectedSums; title: string; unit: Unit }[] = [
  { field: "spend_micros", title: "Spend", unit: "money" },
  { field: "revenue_micros", title: "Revenue", unit: "money" },
  { field: "impressions", title: "Impressions", unit: "count" },
  { field: "clicks", title: "Clicks", unit: "count" },
  { field: "conversions", title: "Conversions", unit: "count" },
  { field: "leads", title: "Leads", unit: "count" },
];

/** A change with its sign; the minus is a real one. */
export function signed(value: number, unit: Unit, currency: string): string {
  const size = inUnit(Math.abs(value), unit, currency);
  if (value === 0) return size;
  return `${value < 0 ? "−" : "+"}${size}`;
}

/** "Spend −€4.20, clicks −1". */
export function changesIn(change: CorrectedSums, currency: string): string {
  const said = CORRECTED.filter(({ field }) => change[field] !== 0).map(
    ({ field, title, unit }, at) => `${at === 0 ? title : title.toLowerCase()} ${signed(change[field], unit, currency)}`,
  );
  return said.join(", ");
}
