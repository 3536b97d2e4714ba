import { describe, expect, it } from "vitest";
import { backoffMs } from "../src/live/backoff";
import type { Frame } from "../src/live/protocol";
import { addDecisions, applyFrame, DECISIONS_MAX, emptyState, type LiveState, putSpark } from "../src/live/state";
import { CONFIG, counters, decision, row } from "./support";

function snapshot(changed: Partial<Extract<Frame, { type: "snapshot" }>> = {}): Frame {
  const head = { seq: 5, sent_ms: 1_000, event_ms: 900, part: 0, parts: 1, resumed: false };
  return { type: "snapshot", ...head, config: CONFIG, rows: [], decisions: [], flow: [], store: null, ...changed };
}

function after(...frames: Frame[]): LiveState {
  const state = emptyState();
  for (const frame of frames) applyFrame(state, frame, 990);
  return state;
}

describe("a snapshot", () => {
  it("makes the state ready with its last part only", () => {
    const first = snapshot({ parts: 2, seq: 0, rows: [row("a")] });
    expect(after(first).ready).toBe(false);
    const state = after(first, snapshot({ part: 1, parts: 2, config: undefined, rows: [row("b")] }));
    expect(state.ready).toBe(true);
    expect([...state.rows.keys()]).toEqual(["a", "b"]);
    expect(state.seq).toBe(5);
  });

  it("takes the place of what was known", () => {
    const state = after(snapshot({ rows: [row("old")], decisions: [decision("d1", 1)] }), snapshot({ rows: [row("new")] }));
    expect([...state.rows.keys()]).toEqual(["new"]);
    expect(state.decisions).toEqual([]);
    expect(state.eventMs).toBe(900);
  });

  it("of a resumed connection adds to what was known", () => {
    const state = after(snapshot({ rows: [row("a")] }), snapshot({ resumed: true, config: undefined, rows: [row("b")] }));
    expect([...state.rows.keys()]).toEqual(["a", "b"]);
  });

  it("tells how far the server's clock is ahead", () => {
    expect(after(snapshot()).clockOffsetMs).toBe(10);
  });
});

describe("a delta", () => {
  const delta = (changed: object): Frame => ({ type: "delta", seq: 6, sent_ms: 1_000, event_ms: 950, rows: [], ...changed });

  it("replaces the rows it has and leaves the others", () => {
    const state = after(snapshot({ rows: [row("a"), row("b")] }), delta({ rows: [row("b", { state: "paused" })] }));
    expect(state.rows.get("a")?.state).toBe("active");
    expect(state.rows.get("b")?.state).toBe("paused");
  });

  it("without a status leaves flow and store as they were", () => {
    const store = { now_ms: 1, state: "down" as const, lag_records: 3, error: "gone" };
    expect(after(snapshot({ store }), delta({})).store).toEqual(store);
  });

  it("moves the points of a campaign that is watched", () => {
    const detail: Frame = {
      ...{ type: "detail", seq: 5, sent_ms: 1_000, event_ms: 0, campaign_id: "a", known: true, decisions: [] },
      points: [[10_000, 1, 0, 0, 0, 0, 0, 0]],
    };
    const windows: [number, number[]][] = [
      [20_000, counters(7, 0, 0)],
      [10_000, counters(2, 0, 0)],
    ];
    const state = after(snapshot({ rows: [row("a")] }), detail, delta({ rows: [row("a", { windows })] }));
    expect(state.details.get("a")?.points.map((point) => [point[0], point[1]])).toEqual([
      [10_000, 2],
      [20_000, 7],
    ]);
  });
});

describe("decisions", () => {
  it("sorts decisions as they were taken, whatever the times of their causes", () => {
    const state = emptyState();
    const resumed = { ...decision("resumed", 9_000), sequence: 9_000 * 4096 };
    const paused = { ...decision("paused", 5_000), sequence: 9_000 * 4096 + 1 };
    addDecisions(state, [resumed, paused]);
    expect(state.decisions.map((each) => each.decision_id)).toEqual(["paused", "resumed"]);
  });

  it("are kept once each, newest first", () => {
    const state = emptyState();
    addDecisions(state, [decision("a", 1), decision("b", 3)]);
    addDecisions(state, [decision("b", 3), decision("c", 2)]);
    expect(state.decisions.map((each) => each.decision_id)).toEqual(["b", "c", "a"]);
  });

  it("are bounded: the oldest go", () => {
    const state = emptyState();
    addDecisions(
      state,
      Array.from({ length: DECISIONS_MAX + 3 }, (_, at) => decision(`d${at}`, at)),
    );
    expect(state.decisions.length).toBe(DECISIONS_MAX);
    expect(state.decisions.at(-1)?.decision_id).toBe("d3");
    expect(state.decisionIds.size).toBe(DECISIONS_MAX);
  });
});

describe("a spark line", () => {
  it("moves on with newer windows, windows between being zero", () => {
    const spark = { newestMs: 50_000, spend: [1, 2, 3, 4, 5] };
    putSpark(spark, 70_000, 9, 10_000);
    expect(spark).toEqual({ newestMs: 70_000, spend: [3, 4, 5, 0, 9] });
  });

  it("changes a window in place and leaves out what is older than it shows", () => {
    const spark = { newestMs: 50_000, spend: [1, 2, 3, 4, 5] };
    putSpark(spark, 40_000, 8, 10_000);
    putSpark(spark, 0, 99, 10_000);
    expect(spark.spend).toEqual([1, 2, 3, 8, 5]);
  });

  it("is emptied by a jump longer than itself", () => {
    const spark = { newestMs: 50_000, spend: [1, 2, 3, 4, 5] };
    putSpark(spark, 5_000_000, 6, 10_000);
    expect(spark.spend).toEqual([0, 0, 0, 0, 6]);
  });
});

describe("back-off", () => {
  it("doubles up to fifteen seconds and spreads by chance", () => {
    expect([1, 2, 3, 20].map((attempt) => backoffMs(attempt, 1))).toEqual([250, 500, 1_000, 15_000]);
    expect(backoffMs(3, 0)).toBe(500);
  });
});
