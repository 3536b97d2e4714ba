/** What the REST api sends and takes; the shapes of `schemas/` as JSON. */

export type Strategy = "manual" | "max_clicks" | "max_conversions" | "target_cpa" | "target_roas";
export type Mode = "auto" | "recommend" | "dry_run";

/** Prices are micros per thousand impressions (CPM). */
export interface Bidding {
  strategy: Strategy;
  mode: Mode;
  bid_micros: number | null;
  bid_floor_micros: number | null;
  bid_cap_micros: number | null;
  target_cpa_micros: number | null;
  target_roas: number | null;
  max_change: number;
  pacing: "even" | "asap";
  auction: "first" | "second";
}

export interface PlatformLink {
  platform: string;
  account_id: string;
  campaign_ref: string;
  /** What carries the bid and the budget, where that is another object than the campaign. */
  ad_group_ref: string | null;
  budget_ref: string | null;
  /** What the bid there is for: "thousand" impressions or a "click". */
  bids_per?: string;
}

export interface Definition {
  campaign_id: string;
  name: string;
  currency: string;
  time_zone: string;
  status: "active" | "paused" | "archived";
  daily_budget_micros: number | null;
  weekly_budget_micros: number | null;
  total_budget_micros: number | null;
  start_ms: number | null;
  end_ms: number | null;
  bidding: Bidding | null;
  platforms: PlatformLink[];
}

export interface StoredCampaign {
  campaign: Definition;
  version: number;
  changed_by: string;
  changed_ms: number;
}

export interface Change {
  version: number;
  changed_by: string;
  changed_ms: number;
  before: Definition | null;
  after: Definition;
}

export interface Override {
  version: number;
  action: "pause" | "resume" | "set_bid" | "lift";
  bid_micros: number | null;
  note: string;
  changed_by: string;
  changed_ms: number;
}

export type Word = "undo" | "approve" | "reject";

/** The last word of a person on a decision. */
export interface Said {
  decision_id: string;
  campaign_id: string;
  word: Word;
  changed_by: string;
  changed_ms: number;
}

export type ReceiptState = "sending" | "applied" | "dry_run" | "retrying" | "rejected" | "parked" | "superseded" | "unsupported";

/** What became of a decision on one object of an ad platform. */
export interface PlatformReceipt {
  receipt_id: string;
  decision_id: string;
  campaign_id: string;
  kind: string;
  platform: string;
  account_id: string;
  campaign_ref: string;
  state: ReceiptState;
  attempts: number;
  ts_ms: number;
  requests: { method?: string; url?: string; body?: unknown }[];
  status: number | null;
  error_code: string | null;
  message: string | null;
  platform_request_id: string | null;
}

export interface Letter {
  dead_letter_id: string;
  ts_ms: number;
  reason: string;
  field: string;
  detail: string;
  raw: string;
  raw_bytes: number;
  source: string;
  settled: "fixed" | "replayed" | "dropped" | null;
}

export interface DeadLetters {
  counts: Record<string, number>;
  since_ms: number | null;
  letters: Letter[];
}

/** One process of Penstock by its last report; `reason` says in words why it is not well. */
export interface ProcessRow {
  process: string;
  host: string;
  state: "ok" | "starting" | "waiting" | "stuck" | "silent" | "crashing" | "ended" | "stopped";
  reason: string;
  progress: number;
  waiting: number;
  reported_s_ago: number;
}

/** Counters, spend and revenue; signed where they are changes. */
export interface CorrectedSums {
  impressions: number;
  clicks: number;
  conversions: number;
  leads: number;
  spend_micros: number;
  revenue_micros: number;
}

export interface Correction extends CorrectedSums {
  correction_id: string;
  campaign_id: string;
  ts_ms: number;
  cause: string;
  /** Of a campaign's day, or of a moment. */
  grain: "day" | "moment";
  by: string;
  noted_ms: number;
  note: string;
  applied_ms: number;
  /** Closed windows were counted again. */
  late: boolean;
  /** Without effect: a total would have gone below zero. */
  refused: boolean;
}

/** Whole days that span [from_ms, to_ms). */
export interface CorrectionTotals {
  from_ms: number;
  to_ms: number;
  reported: CorrectedSums;
  difference: CorrectedSums;
  corrected: CorrectedSums;
  corrections: number;
}
