/** A decision's change in a few words. */

import type { Decision } from "../live/protocol";
import { fieldName, fieldValue } from "./format";

/** "Bid €2.10 → €2.35", or what was spent of which budget where the kind says all. */
export function change(decision: Decision, currency: string): string {
  const parts = Object.keys(decision.after)
    .filter((name) => typeof decision.after[name] !== "boolean")
    .map((name) => {
      if (decision.before[name] === null) return `${fieldName(name)} ${fieldValue(name, decision.after[name], currency)}`;
      const before = fieldValue(name, decision.before[name], currency);
      return `${fieldName(name)} ${before} → ${fieldValue(name, decision.after[name], currency)}`;
    });
  if (parts.length > 0) return parts.join(", ");
  const { spend_micros: spent, budget_micros: budget } = decision.inputs;
  return typeof spent === "number" && typeof budget === "number"
    ? `${fieldValue("spend_micros", spent, currency)} of ${fieldValue("budget_micros", budget, currency)} spent`
    : "";
}
