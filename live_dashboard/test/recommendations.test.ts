import { describe, expect, it } from "vitest";
import { waitingFor } from "../src/lib/recommendations";
import type { Said } from "../src/lib/records";
import type { Decision, Row } from "../src/live/protocol";
import { decision, row } from "./support";

function recommended(id: string, tsMs: number, changed: Partial<Decision> = {}): Decision {
  return { ...decision(id, tsMs), kind: "set_bid", mode: "recommend", ...changed };
}

function said(id: string, word: Said["word"]): [string, Said] {
  return [id, { decision_id: id, campaign_id: "c1", word, changed_by: "ann", changed_ms: 1 }];
}

const NO_ROWS = new Map<string, Row>();
const ids = (decisions: Decision[], words: [string, Said][] = [], rows = NO_ROWS) =>
  waitingFor(decisions, new Map(words), rows).map((each) => each.decision_id);

describe("what waits for a person", () => {
  it("is a recommendation and nothing else", () => {
    expect(ids([recommended("a", 2), decision("b", 1)])).toEqual(["a"]);
  });

  it("is the newest of a campaign and kind", () => {
    expect(ids([recommended("b", 2), recommended("a", 1), recommended("c", 1, { campaign_id: "c2" })])).toEqual(["b", "c"]);
  });

  it.each(["approve", "reject"] as const)("is not what got the word %s, nor an older one of its kind", (word) => {
    expect(ids([recommended("b", 2), recommended("a", 1)], [said("b", word)])).toEqual([]);
  });

  it("is not what a later decision names as approved", () => {
    expect(ids([{ ...decision("d", 3), inputs: { approved: "a" } }, recommended("a", 1)])).toEqual([]);
  });

  it("is nothing of a campaign that no longer asks", () => {
    const rows = new Map([["c1", row("c1", { bidding: { mode: "auto" } })]]);
    expect(ids([recommended("a", 1)], [], rows)).toEqual([]);
  });
});
