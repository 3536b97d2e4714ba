/** The campaigns table's order, filter and totals. */

import type { Configuration, Counters, Row } from "../live/protocol";
import { bindingBudget, countersOf, measureNamed, valueOf } from "./measures";

export interface Order {
  by: string;
  down: boolean;
}

export interface Filter {
  text: string;
  states: ReadonlySet<string>;
}

export const STATES = ["active", "paused", "scheduled", "ended", "unknown", "archived"] as const;

/** Does the row have all words of the text in its name or id, and one of the states? */
export function isShown(row: Row, filter: Filter): boolean {
  if (filter.states.size > 0 ? !filter.states.has(row.state) : row.state === "archived") return false;
  const where = `${row.name} ${row.id} ${row.currency}`.toLowerCase();
  return filter.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => where.includes(word));
}

type Key = number | string | null;

function keyOf(row: Row, by: string, span: string, config: Configuration): Key {
  switch (by) {
    case "name":
      return (row.name || row.id).toLowerCase();
    case "state":
      return STATES.indexOf(row.state);
    case "budget": {
      const budget = bindingBudget(row);
      return budget ? budget.spent_micros / budget.budget_micros : null;
    }
    case "bid":
      return bidOf(row);
    case "updated":
      return row.event_ms;
    default: {
      const measure = measureNamed(config, by);
      return measure ? valueOf(measure, countersOf(row, span), config.counters) : null;
    }
  }
}

/** The bid in force, in micros per thousand impressions; null without a strategy. */
export function bidOf(row: Row): number | null {
  const bid = row.bidding.bid_micros;
  return typeof bid === "number" ? bid : null;
}

/** Money is ordered within its currency, currencies by how many campaigns have them: 1,000 yen are not above 10 euros. */
function currencyRanks(rows: Row[], by: string, config: Configuration): Map<string, number> {
  if (by !== "bid" && measureNamed(config, by)?.unit !== "money") return new Map();
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row.currency, (counts.get(row.currency) ?? 0) + 1);
  const names = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
  return new Map(names.map((name, rank) => [name, rank]));
}

/** Ids of the shown rows in order; undefined values come last either way, ties by id. */
export function orderedIds(
  rows: Iterable<Row>,
  filter: Filter,
  order: Order,
  span: string,
  config: Configuration,
): string[] {
  const shown = [...rows].filter((row) => isShown(row, filter));
  const ranks = currencyRanks(shown, order.by, config);
  const keyed = shown.map(
    (row): [Key, string, number] => [keyOf(row, order.by, span, config), row.id, ranks.get(row.currency) ?? 0],
  );
  const sign = order.down ? -1 : 1;
  keyed.sort(([a, idA, rankA], [b, idB, rankB]) => {
    if (rankA !== rankB) return rankA - rankB;
    if (a === null || b === null) {
      if (a !== b) return a === null ? 1 : -1;
    } else if (a !== b) {
      return a < b ? -sign : sign;
    }
    return idA < idB ? -1 : 1;
  });
  return keyed.map(([, id]) => id);
}

export interface Total {
  currency: string;
  campaigns: number;
  counters: Counters;
}

/** Sums of the rows for each currency: money of two currencies is never added. */
export function totals(rows: Iterable<Row>, span: string, config: Configuration): Total[] {
  const found = new Map<string, Total>();
  for (const row of rows) {
    let total = found.get(row.currency);
    if (!total) {
      total = { currency: row.currency, campaigns: 0, counters: config.counters.map(() => 0) };
      found.set(row.currency, total);
    }
    total.campaigns += 1;
    countersOf(row, span)?.forEach((value, at) => {
      total.counters[at] = (total.counters[at] ?? 0) + value;
    });
  }
  return [...found.values()].sort((a, b) => b.campaigns - a.campaigns || (a.currency < b.currency ? -1 : 1));
}
