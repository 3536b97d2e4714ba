import type { Configuration, Decision, Row } from "../src/live/protocol";

const COUNTERS = ["impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros", "reach"];

export const CONFIG: Configuration = {
  protocol: "penstock.live.1",
  session: "s1",
  server_version: "0",
  heartbeat_ms: 5_000,
  frames_per_s: 20,
  limits: { message_bytes: 1, subscription: 1, points: 4, spark_points: 5 },
  point_ms: 10_000,
  counters: COUNTERS,
  measures: [
    { id: "spend", title: "Spend", unit: "money", of: "spend_micros", per: null, scale: 1, explain: "" },
    { id: "ctr", title: "CTR", unit: "share", of: "clicks", per: "impressions", scale: 1, explain: "" },
    { id: "cpm", title: "CPM", unit: "money", of: "spend_micros", per: "impressions", scale: 1_000, explain: "" },
  ],
  columns: ["ctr"],
  tiles: ["spend"],
  charts: [],
  spans: [],
};

export function counters(impressions: number, clicks: number, spendMicros: number): number[] {
  return [impressions, clicks, 0, 0, spendMicros, 0, 0];
}

export function row(id: string, changed: Partial<Row> = {}): Row {
  return {
    id,
    name: `Campaign ${id}`,
    currency: "EUR",
    zone: "UTC",
    state: "active",
    reason: null,
    version: 1,
    watermark_ms: 0,
    now_ms: 0,
    event_ms: 0,
    today: counters(1_000, 20, 5_000_000),
    total: counters(1_000, 20, 5_000_000),
    rolling: {},
    windows: [],
    budgets: [],
    bidding: {},
    ...changed,
  };
}

export function decision(id: string, tsMs: number): Decision {
  return {
    decision_id: id,
    org_id: "default",
    campaign_id: "c1",
    kind: "pause",
    reason: "daily_budget_reached",
    ts_ms: tsMs,
    effective_ms: tsMs,
    before: {},
    after: {},
    inputs: {},
    policy: "p",
    mode: "auto",
    expected: [],
    undo: null,
    cause_event: null,
    sequence: 0,
  };
}
