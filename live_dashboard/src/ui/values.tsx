/** A measure's value, and the tile that names it. */

import type { ReactNode } from "react";
import { inUnit } from "../lib/format";
import { valueOf, whyNone } from "../lib/measures";
import type { Configuration, Measure } from "../live/protocol";
import { Undefined } from "./parts";

export function Tile({ label, value, explain }: { label: string; value: ReactNode; explain?: string }) {
  return (
    <div className="min-w-0 bg-surface px-2 py-1.5 sm:px-3 sm:py-2" title={explain}>
      <dt className="truncate text-xs text-muted">{label}</dt>
      <dd className="truncate text-sm leading-5 font-semibold sm:text-base sm:leading-6">{value}</dd>
    </div>
  );
}

export function Value({
  measure,
  counters,
  config,
  currency,
}: {
  measure: Measure;
  counters: number[] | undefined;
  config: Configuration;
  currency: string;
}) {
  const value = valueOf(measure, counters, config.counters);
  return value === null ? <Undefined why={whyNone(measure)} /> : inUnit(value, measure.unit, currency);
}
