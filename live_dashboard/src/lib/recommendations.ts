/** Which recommendations still wait for a person. */

import type { Decision, Row } from "../live/protocol";
import { placeOf } from "../live/state";
import type { Said } from "./records";

/** Of each campaign the newest recommendation of a kind that nobody has spoken of, newest first.
 *
 * A campaign that no longer asks (its mode is another) has none: what it once recommended was for another time.
 */
export function waitingFor(decisions: Decision[], words: ReadonlyMap<string, Said>, rows: ReadonlyMap<string, Row>): Decision[] {
  const approved = new Set(decisions.map((decision) => decision.inputs.approved).filter((id) => typeof id === "string"));
  const newest = new Map<string, Decision>();
  for (const decision of decisions) {
    if (decision.mode !== "recommend") continue;
    const place = `${decision.campaign_id}/${decision.kind}`;
    const last = newest.get(place);
    if (!last || placeOf(last) < placeOf(decision)) newest.set(place, decision);
  }
  return [...newest.values()].filter((decision) => {
    const mode = rows.get(decision.campaign_id)?.bidding.mode;
    const asks = mode === undefined || mode === "recommend";
    return asks && !approved.has(decision.decision_id) && !words.has(decision.decision_id);
  });
}
