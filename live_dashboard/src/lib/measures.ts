/** Measures out of counters, as the configuration defines them. */

import type { Configuration, Counters, Measure, Row } from "../live/protocol";

/** The measure's value; null where its denominator is zero, or nothing was counted. */
export function valueOf(measure: Measure, counters: Counters | undefined, names: string[]): number | null {
  if (!counters) return null;
  const top = counters[names.indexOf(measure.of)] ?? 0;
  if (measure.per === null) return top * measure.scale;
  const bottom = counters[names.indexOf(measure.per)] ?? 0;
  return bottom === 0 ? null : (top * measure.scale) / bottom;
}

/** Counters of a row over "today", "total" or a rolling span. */
export function countersOf(row: Row, span: string): Counters | undefined {
  if (span === "today") return row.today;
  if (span === "total") return row.total;
  return row.rolling[span];
}

export function measureNamed(config: Configuration, id: string): Measure | undefined {
  return config.measures.find((measure) => measure.id === id);
}

/** Why a measure has no value, for whoever wonders about the dash. */
export function whyNone(measure: Measure): string {
  const missing = { impressions: "impressions", clicks: "clicks", conversions: "conversions", spend_micros: "spend" };
  const name = measure.per ? (missing[measure.per as keyof typeof missing] ?? measure.per) : "numbers";
  return `${measure.title} is undefined: no ${name} in this span`;
}

/** The budget that binds first: the one with the highest utilisation. */
export function bindingBudget(row: Row): Row["budgets"][number] | undefined {
  return [...row.budgets].sort((a, b) => b.spent_micros / b.budget_micros - a.spent_micros / a.budget_micros)[0];
}
