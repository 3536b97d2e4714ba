/** The frames of `GET /api/v1/live`, as docs/live.md has them. */

export type Unit = "count" | "money" | "share" | "factor";

export interface Measure {
  id: string;
  title: string;
  unit: Unit;
  /** Counter it is made of, and the one it is divided by; null for a plain count or sum. */
  of: string;
  per: string | null;
  scale: number;
  explain: string;
}

export interface ChartDefinition {
  id: string;
  title: string;
  measures: string[];
  draw: "area" | "line" | "bars";
  /** Live windows that one value is made of; 1 for a plain series. */
  rolling_windows: number;
  shared_axis: boolean;
}

export interface Span {
  id: string;
  title: string;
  explain: string;
}

export interface Configuration {
  protocol: string;
  session: string;
  server_version: string;
  heartbeat_ms: number;
  frames_per_s: number;
  limits: { message_bytes: number; subscription: number; points: number; spark_points: number };
  point_ms: number;
  counters: string[];
  measures: Measure[];
  columns: string[];
  tiles: string[];
  charts: ChartDefinition[];
  spans: Span[];
}

/** Numbers in the order of Configuration.counters. */
export type Counters = number[];

export interface Budget {
  period: "day" | "week" | "total";
  budget_micros: number;
  spent_micros: number;
  in_flight_micros: number;
  period_start_ms: number;
  period_end_ms: number | null;
}

export type CampaignState = "active" | "paused" | "scheduled" | "ended" | "unknown" | "archived";

export interface Row {
  id: string;
  name: string;
  currency: string;
  zone: string;
  state: CampaignState;
  reason: string | null;
  version: number;
  watermark_ms: number;
  now_ms: number;
  event_ms: number;
  today: Counters;
  total: Counters;
  rolling: Record<string, Counters>;
  windows: [number, Counters][];
  budgets: Budget[];
  bidding: Record<string, number | string | null>;
  spark?: [number, number[]];
}

export interface Effect {
  measure: string;
  expected: number;
  low: number;
  high: number;
}

export interface Decision {
  decision_id: string;
  org_id: string;
  campaign_id: string;
  kind: string;
  reason: string;
  ts_ms: number;
  effective_ms: number;
  before: Record<string, unknown>;
  after: Record<string, unknown>;
  inputs: Record<string, unknown>;
  policy: string;
  mode: string;
  expected: Effect[];
  undo: Record<string, unknown> | null;
  cause_event: string | null;
  /** Rises from decision to decision of a campaign, whatever the times of their causes. */
  sequence: number;
}

export interface FlowStatus {
  now_ms: number;
  worker: number;
  events_per_second: number;
  lag_records: number;
  lag_bytes: number;
  watermark_ms: number;
  dead_letters: number;
  duplicates: number;
  late: number;
  epoch_ms: number;
}

/** The log compared with ClickHouse. The times are those of the events compared, 0 where there were none. */
export interface Verification {
  at_ms: number;
  by: string;
  from_ms: number;
  to_ms: number;
  events: number;
  rows: number;
  missing: number;
  repaired: number;
}

export interface StoreStatus {
  now_ms: number;
  state: "ok" | "behind" | "down";
  lag_records: number;
  error: string | null;
  verification?: Verification | null;
  reach_s?: number | null;
}

/** window_start_ms, then impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach. */
export type Point = [number, number, number, number, number, number, number, number];

interface Head {
  seq: number;
  sent_ms: number;
  event_ms: number;
}

interface Changes {
  rows: Row[];
  decisions?: Decision[];
  decisions_missed?: boolean;
  flow?: FlowStatus[];
  store?: StoreStatus | null;
}

export type Frame =
  | (Head & Changes & { type: "snapshot"; part: number; parts: number; resumed: boolean; config?: Configuration })
  | (Head & Changes & { type: "delta" })
  | (Head & { type: "detail"; campaign_id: string; known: boolean; points: Point[]; decisions: Decision[] })
  | (Head & { type: "ping" | "pong" });
