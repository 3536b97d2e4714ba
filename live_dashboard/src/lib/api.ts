/** The REST api, with its problem details (RFC 9457) turned into sentences. */

import { read, write } from "./theme";
import type { Decision } from "../live/protocol";
import type { KpiRow } from "./series";

const KEY_PLACE = "penstock.key";

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
}

export interface StoredCampaign {
  campaign: Definition;
  version: number;
  changed_by: string;
  changed_ms: number;
}

export interface Override {
  version: number;
  action: "pause" | "resume" | "set_bid" | "lift";
  bid_micros: number | null;
  note: string;
  changed_by: string;
  changed_ms: number;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The key lasts as long as the tab and is sent in headers only. */
export function storedKey(): string {
  return read(KEY_PLACE, "sessionStorage") ?? "";
}

export function storeKey(key: string): void {
  write(KEY_PLACE, key || null, "sessionStorage");
}

interface Problem {
  title?: string;
  detail?: string;
  type?: string;
  errors?: { field: string; detail: string }[];
}

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers = new Headers({ Accept: "application/json" });
  const key = storedKey();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  let answer: Response;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "unreachable", "The api does not answer. Nothing was changed; try again.");
  }
  if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as T;
  const problem = (await answer.json().catch(() => ({}))) as Problem;
  throw new ApiError(answer.status, problem.type?.split(":").at(-1) ?? "http", sentence(problem, answer.status));
}

function sentence(problem: Problem, status: number): string {
  if (problem.errors?.length) {
    return problem.errors.map((error) => (error.field ? `${error.field}: ${error.detail}` : error.detail)).join("; ");
  }
  return problem.detail ?? problem.title ?? `The api answered with status ${status}`;
}

const at = (id: string) => `/campaigns/${encodeURIComponent(id)}`;

export const api = {
  campaign: (id: string, signal?: AbortSignal) => call<StoredCampaign>("GET", at(id), undefined, signal),
  overrides: (id: string, signal?: AbortSignal) => call<Override[]>("GET", `${at(id)}/overrides`, undefined, signal),
  change: (id: string, changes: Partial<Definition>) => call<StoredCampaign>("PATCH", at(id), changes),
  override: (id: string, action: Override["action"], note: string) =>
    call<{ version: number }>("POST", `${at(id)}/override`, { action, note }),
  decisions: (campaignId: string | null, before: string | null) => {
    const query = new URLSearchParams({ limit: "200" });
    if (campaignId) query.set("campaign_id", campaignId);
    if (before) query.set("before", before);
    return call<{ decisions: Decision[]; next_before: string | null }>("GET", `/decisions?${query}`);
  },
  say: (decisionId: string, word: "undo" | "approve" | "reject") =>
    call<unknown>("POST", `/decisions/${encodeURIComponent(decisionId)}/${word}`),
  kpis: (id: string, window: string, fromMs: number, toMs: number, signal?: AbortSignal) =>
    call<{ rows: KpiRow[]; truncated: boolean }>(
      "GET",
      `${at(id)}/kpis?window=${window}&from_ms=${Math.round(fromMs)}&to_ms=${Math.round(toMs)}&level=campaign`,
      undefined,
      signal,
    ),
};
