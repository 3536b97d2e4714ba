import { describe, expect, it } from "vitest";
import { measureNamed, valueOf } from "../src/lib/measures";
import { campaignHref, parseRoute } from "../src/lib/route";
import { livePoints, rollingPoints, storedPoints } from "../src/lib/series";
import { orderedIds, totals } from "../src/lib/table";
import type { Point } from "../src/live/protocol";
import { CONFIG, counters, row } from "./support";

const ALL = { text: "", states: new Set<string>() };
const ROWS = [
  row("a", { name: "Zebra", today: counters(100, 1, 3_000_000) }),
  row("b", { name: "apple", today: counters(0, 0, 0), state: "paused" }),
  row("c", { name: "Mango", today: counters(100, 5, 1_000_000), currency: "USD" }),
];

describe("the table", () => {
  it.each([
    ["spend, down, each currency by itself", { by: "spend", down: true }, ["a", "b", "c"]],
    ["spend, up, each currency by itself", { by: "spend", down: false }, ["b", "a", "c"]],
    ["name, whatever its case", { by: "name", down: false }, ["b", "c", "a"]],
    ["an undefined rate last when down", { by: "ctr", down: true }, ["c", "a", "b"]],
    ["an undefined rate last when up", { by: "ctr", down: false }, ["a", "c", "b"]],
    ["ties by id", { by: "updated", down: true }, ["a", "b", "c"]],
  ])("orders by %s", (_, order, ids) => {
    expect(orderedIds(ROWS, ALL, order, "today", CONFIG)).toEqual(ids);
  });

  it.each([
    ["words in any order", { text: "campaign zeb", states: new Set<string>() }, []],
    ["part of a name", { text: "zeb", states: new Set<string>() }, ["a"]],
    ["a state", { text: "", states: new Set(["paused"]) }, ["b"]],
    ["text and state together", { text: "mango", states: new Set(["paused"]) }, []],
  ])("filters by %s", (_, filter, ids) => {
    expect(orderedIds(ROWS, filter, { by: "name", down: false }, "today", CONFIG)).toEqual(ids);
  });

  it("hides archived campaigns until their state is asked for", () => {
    const rows = [...ROWS, row("d", { state: "archived" })];
    const order = { by: "name", down: false };
    expect(orderedIds(rows, ALL, order, "today", CONFIG)).not.toContain("d");
    expect(orderedIds(rows, { text: "", states: new Set(["archived"]) }, order, "today", CONFIG)).toEqual(["d"]);
  });

  it("never adds money of two currencies", () => {
    const found = totals(ROWS, "today", CONFIG).map((total) => [total.currency, total.campaigns, total.counters[4]]);
    expect(found).toEqual([
      ["EUR", 2, 3_000_000],
      ["USD", 1, 1_000_000],
    ]);
  });
});

describe("a measure", () => {
  it("without a denominator is undefined and not zero", () => {
    const ctr = measureNamed(CONFIG, "ctr");
    expect(ctr && valueOf(ctr, counters(0, 0, 0), CONFIG.counters)).toBeNull();
    expect(ctr && valueOf(ctr, counters(50, 1, 0), CONFIG.counters)).toBe(0.02);
  });

  it("has the scale of its definition", () => {
    const cpm = measureNamed(CONFIG, "cpm");
    expect(cpm && valueOf(cpm, counters(2_000, 0, 5_000_000), CONFIG.counters)).toBe(2_500_000);
  });
});

describe("points of a chart", () => {
  const point = (startMs: number, clicks: number): Point => [startMs, 0, clicks, 0, 0, 0, 0, 0];

  it("are zero where nothing happened, and absent before anything was known", () => {
    const series = livePoints([point(20_000, 3), point(40_000, 5)], 55_000, 60_000, 10_000);
    expect(series.map((each) => [each.startMs, each.counters[1]])).toEqual([
      [20_000, 3],
      [30_000, 0],
      [40_000, 5],
      [50_000, 0],
    ]);
  });

  it("end with the span asked for", () => {
    const points = [10_000, 20_000, 30_000, 40_000].map((startMs) => point(startMs, 1));
    expect(livePoints(points, 45_000, 20_000, 10_000).map((each) => each.startMs)).toEqual([30_000, 40_000]);
  });

  it("of a rate are rolling sums", () => {
    const series = [1, 2, 4].map((clicks, at) => ({ startMs: at, counters: [clicks] }));
    expect(rollingPoints(series, 2).map((each) => each.counters[0])).toEqual([1, 3, 6]);
  });

  it("from the api have windows without events as zeros", () => {
    const rows = [
      { window_start_ms: 0, clicks: 1 },
      { window_start_ms: 180_000, clicks: 2 },
    ];
    expect(storedPoints(rows, ["clicks"], 60_000).map((each) => each.counters[0])).toEqual([1, 0, 0, 2]);
  });
});

describe("addresses", () => {
  it.each([
    ["", { page: "campaigns" }],
    ["#/", { page: "campaigns" }],
    ["#/decisions", { page: "decisions" }],
    ["#/campaigns/a%20b", { page: "campaign", id: "a b" }],
    ["#/campaigns/%E0", { page: "unknown" }],
    ["#/nothing", { page: "unknown" }],
  ])("%j", (hash, route) => {
    expect(parseRoute(hash)).toEqual(route);
  });

  it("of a campaign lead back to it", () => {
    expect(parseRoute(campaignHref("x/y?z"))).toEqual({ page: "campaign", id: "x/y?z" });
  });
});
