/** What differs between two definitions of a campaign, field by field. */

import { dateTime, fieldName, fieldValue, words } from "./format";
import type { Definition } from "./records";

export interface Difference {
  field: string;
  before: string;
  after: string;
}

/** Fields whose values are codes and not names. */
const CODES = new Set(["strategy", "mode", "status", "pacing", "auction"]);

type Fields = Record<string, unknown>;

function shown(name: string, value: unknown, campaign: Definition): string {
  if (value === null || value === undefined) return "none";
  if (name.endsWith("_ms") && typeof value === "number" && value > 1e12) return dateTime(value, campaign.time_zone);
  return CODES.has(name) ? words(String(value)) : fieldValue(name, value, campaign.currency);
}

function differences(before: Fields, after: Fields, campaign: Definition, prefix: string): Difference[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => {
    const [was, is] = [before[name], after[name]];
    if (JSON.stringify(was ?? null) === JSON.stringify(is ?? null)) return [];
    if (name === "bidding") return differences((was ?? {}) as Fields, (is ?? {}) as Fields, campaign, "Bidding: ");
    const field = prefix ? `${prefix}${fieldName(name).charAt(0).toLowerCase()}${fieldName(name).slice(1)}` : fieldName(name);
    if (Array.isArray(was) || Array.isArray(is)) {
      const size = (list: unknown) => (Array.isArray(list) ? `${list.length} entries` : "none");
      return [{ field, before: size(was), after: size(is) }];
    }
    return [{ field, before: shown(name, was, campaign), after: shown(name, is, campaign) }];
  });
}

/** Every field that differs; nothing for the first version, which has nothing before it. */
export function changesOf(before: Definition | null, after: Definition): Difference[] {
  return before ? differences({ ...before }, { ...after }, after, "") : [];
}

