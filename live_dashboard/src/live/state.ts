/** What the page knows, and how a frame changes it. No DOM, no socket, no clock: every time is an argument. */

import type { Configuration, Counters, Decision, FlowStatus, Frame, Point, Row, StoreStatus } from "./protocol";

/** Decisions kept in the page; older ones are a query away. */
export const DECISIONS_MAX = 2_000;
/** Throughput samples kept for the system page: ten minutes of one a second. */
export const FLOW_HISTORY_MAX = 600;
/** Campaigns whose points are kept: the one shown and those just left. */
export const DETAILS_MAX = 4;
export const GAPS_MAX = 50;

export interface Spark {
  newestMs: number;
  spend: number[];
}

export interface Detail {
  known: boolean;
  points: Point[];
}

/** A time without updates. */
export interface Gap {
  fromMs: number;
  toMs: number;
}

export interface LiveState {
  config: Configuration | null;
  seq: number;
  rows: Map<string, Row>;
  sparks: Map<string, Spark>;
  /** Newest first. */
  decisions: Decision[];
  decisionIds: Set<string>;
  decisionsMissed: boolean;
  flow: FlowStatus[];
  flowHistory: [number, number][];
  store: StoreStatus | null;
  details: Map<string, Detail>;
  gaps: Gap[];
  /** Newest event's effect, by the server's clock. */
  eventMs: number;
  /** Server clock less this machine's. */
  clockOffsetMs: number;
  /** When the last frame came and when the last one with changes did, by this machine's clock. */
  frameAtMs: number;
  frames: number;
  /** The snapshot is complete. */
  ready: boolean;
}

export function emptyState(): LiveState {
  return {
    config: null,
    seq: 0,
    rows: new Map(),
    sparks: new Map(),
    decisions: [],
    decisionIds: new Set(),
    decisionsMissed: false,
    flow: [],
    flowHistory: [],
    store: null,
    details: new Map(),
    gaps: [],
    eventMs: 0,
    clockOffsetMs: 0,
    frameAtMs: 0,
    frames: 0,
    ready: false,
  };
}

/** Take in a frame; the state is changed in place, since thousands of rows a second pass through here. */
export function applyFrame(state: LiveState, frame: Frame, nowMs: number): void {
  state.frames += 1;
  state.frameAtMs = nowMs;
  state.clockOffsetMs = frame.sent_ms - nowMs;
  if (frame.type === "snapshot" && frame.part === 0 && !frame.resumed) forget(state);
  state.eventMs = Math.max(state.eventMs, frame.event_ms);
  switch (frame.type) {
    case "snapshot":
      if (frame.config) state.config = frame.config;
      takeChanges(state, frame);
      state.seq = frame.seq;
      state.ready = frame.part === frame.parts - 1;
      break;
    case "delta":
      takeChanges(state, frame);
      state.seq = frame.seq;
      break;
    case "detail":
      putDetail(state, frame.campaign_id, { known: frame.known, points: frame.points });
      addDecisions(state, frame.decisions);
      break;
    default:
  }
}

function forget(state: LiveState): void {
  state.rows.clear();
  state.sparks.clear();
  state.decisions = [];
  state.decisionIds.clear();
  state.decisionsMissed = false;
  state.eventMs = 0;
}

type Changes = Extract<Frame, { type: "snapshot" | "delta" }>;

function takeChanges(state: LiveState, frame: Changes): void {
  for (const row of frame.rows) takeRow(state, row);
  if (frame.decisions) addDecisions(state, frame.decisions);
  if (frame.decisions_missed) state.decisionsMissed = true;
  if (frame.store !== undefined) state.store = frame.store;
  if (frame.flow !== undefined) takeFlow(state, frame.flow);
}

function takeFlow(state: LiveState, flow: FlowStatus[]): void {
  state.flow = flow;
  if (flow.length === 0) return;
  const at = Math.max(...flow.map((status) => status.now_ms));
  const rate = flow.reduce((sum, status) => sum + status.events_per_second, 0);
  const last = state.flowHistory.at(-1);
  if (last && last[0] >= at) last[1] = rate;
  else state.flowHistory.push([at, rate]);
  if (state.flowHistory.length > FLOW_HISTORY_MAX) state.flowHistory.shift();
}

function takeRow(state: LiveState, row: Row): void {
  const { config } = state;
  if (row.spark) {
    state.sparks.set(row.id, { newestMs: row.spark[0], spend: row.spark[1] });
    delete row.spark;
  }
  state.rows.set(row.id, row);
  if (!config) return;
  const spendAt = config.counters.indexOf("spend_micros");
  const spark = state.sparks.get(row.id) ?? { newestMs: 0, spend: new Array<number>(config.limits.spark_points).fill(0) };
  for (const [startMs, counters] of inOrder(row.windows)) {
    putSpark(spark, startMs, counters[spendAt] ?? 0, config.point_ms);
  }
  state.sparks.set(row.id, spark);
  const detail = state.details.get(row.id);
  if (detail) for (const [startMs, counters] of inOrder(row.windows)) putPoint(detail.points, startMs, counters, config);
}

function inOrder(windows: [number, Counters][]): [number, Counters][] {
  return [...windows].sort((a, b) => a[0] - b[0]);
}

/** Put the spend of a window in place; newer windows move the line on, those without events being 0. */
export function putSpark(spark: Spark, startMs: number, spend: number, stepMs: number): void {
  const size = spark.spend.length;
  const ahead = spark.newestMs === 0 ? 1 : (startMs - spark.newestMs) / stepMs;
  if (ahead > 0) {
    const moved = Math.min(ahead, size);
    spark.spend = [...spark.spend.slice(moved), ...new Array<number>(moved).fill(0)];
    spark.spend[size - 1] = spend;
    spark.newestMs = startMs;
  } else if (-ahead < size) {
    spark.spend[size - 1 + ahead] = spend;
  }
}

function putPoint(points: Point[], startMs: number, counters: Counters, config: Configuration): void {
  const point = [startMs, ...counters] as unknown as Point;
  for (let at = points.length - 1; at >= 0 && at >= points.length - 3; at -= 1) {
    if (points[at]?.[0] === startMs) {
      points[at] = point;
      return;
    }
  }
  const newest = points.at(-1);
  if (newest && newest[0] > startMs) return;
  points.push(point);
  if (points.length > config.limits.points) points.shift();
}

function putDetail(state: LiveState, campaignId: string, detail: Detail): void {
  state.details.delete(campaignId);
  state.details.set(campaignId, detail);
  for (const oldest of state.details.keys()) {
    if (state.details.size <= DETAILS_MAX) break;
    state.details.delete(oldest);
  }
}

/** Where a decision is in the order in which they were taken; those from before there were sequences by their cause. */
export function placeOf(decision: Decision): number {
  return decision.sequence || decision.ts_ms * 4096;
}

/** Merge decisions by id, the last one taken first. */
export function addDecisions(state: LiveState, decisions: Decision[]): void {
  const fresh = decisions.filter((decision) => !state.decisionIds.has(decision.decision_id));
  if (fresh.length === 0) return;
  for (const decision of fresh) state.decisionIds.add(decision.decision_id);
  const merged = [...fresh, ...state.decisions].sort((a, b) => placeOf(b) - placeOf(a));
  for (const dropped of merged.splice(DECISIONS_MAX)) state.decisionIds.delete(dropped.decision_id);
  state.decisions = merged;
}

/** Remember a time without updates; times are the server's. */
export function addGap(state: LiveState, gap: Gap): void {
  state.gaps = [...state.gaps, gap].slice(-GAPS_MAX);
}
