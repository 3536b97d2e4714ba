/** The REST api, with its problem details (RFC 9457) turned into sentences. */

import type { Decision } from "../live/protocol";
import type {
  Bidding,
  Change,
  Correction,
  CorrectionTotals,
  DeadLetters,
  Definition,
  Override,
  PlatformReceipt,
  ProcessRow,
  Said,
  StoredCampaign,
  Word,
} from "./records";
import type { KpiRow } from "./series";
import { read, write } from "./theme";

const KEY_PLACE = "penstock.key";

export interface FieldError {
  field: string;
  detail: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** What was wrong with which field, when the server said so. */
    readonly errors: FieldError[] = [],
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
  errors?: FieldError[];
}

interface Sent {
  body?: unknown;
  signal?: AbortSignal;
  /** Version that was read: another in force meanwhile is an error and not overwritten. 0 for none yet. */
  version?: number;
}

export async function call<T>(method: string, path: string, { body, signal, version }: Sent = {}): Promise<T> {
  const headers = new Headers({ Accept: "application/json" });
  const key = storedKey();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (version !== undefined) headers.set("If-Match", `"${version}"`);
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
  throw new ApiError(answer.status, problem.type?.split(":").at(-1) ?? "http", sentence(problem, answer.status), problem.errors);
}

function sentence(problem: Problem, status: number): string {
  if (problem.errors?.length) {
    return problem.errors.map((error) => (error.field ? `${error.field}: ${error.detail}` : error.detail)).join("; ");
  }
  return problem.detail ?? problem.title ?? `The api answered with status ${status}`;
}

const at = (id: string) => `/campaigns/${encodeURIComponent(id)}`;

export const api = {
  campaign: (id: string, signal?: AbortSignal) => call<StoredCampaign>("GET", at(id), { signal }),
  create: (definition: Partial<Definition> & { campaign_id: string }) =>
    call<StoredCampaign>("PUT", at(definition.campaign_id), { body: definition, version: 0 }),
  change: (id: string, changes: Changes, version?: number) => call<StoredCampaign>("PATCH", at(id), { body: changes, version }),
  changes: (id: string, signal?: AbortSignal) => call<Change[]>("GET", `${at(id)}/changes`, { signal }),
  revert: (id: string, toVersion: number) => call<StoredCampaign>("POST", `${at(id)}/revert`, { body: { to_version: toVersion } }),
  overrides: (id: string, signal?: AbortSignal) => call<Override[]>("GET", `${at(id)}/overrides`, { signal }),
  override: (id: string, action: Override["action"], note: string, bidMicros?: number) =>
    call<{ version: number }>("POST", `${at(id)}/override`, {
      body: { action, note, ...(bidMicros === undefined ? {} : { bid_micros: bidMicros }) },
    }),
  decisions: (campaignId: string | null, before: string | null) => {
    const query = new URLSearchParams({ limit: "200" });
    if (campaignId) query.set("campaign_id", campaignId);
    if (before) query.set("before", before);
    return call<{ decisions: Decision[]; next_before: string | null }>("GET", `/decisions?${query}`);
  },
  decision: (id: string, signal?: AbortSignal) =>
    call<Decision & { explanation?: string | null }>("GET", `/decisions/${encodeURIComponent(id)}`, { signal }),
  say: (decisionId: string, word: Word) => call<unknown>("POST", `/decisions/${encodeURIComponent(decisionId)}/${word}`),
  words: (signal?: AbortSignal) => call<Said[]>("GET", "/decision-words?limit=500", { signal }),
  receipts: (campaignId: string, signal?: AbortSignal) =>
    call<PlatformReceipt[]>("GET", `/receipts?${new URLSearchParams({ campaign_id: campaignId, limit: "200" })}`, { signal }),
  troubled: (signal?: AbortSignal) => call<PlatformReceipt[]>("GET", "/receipts?troubled=true&limit=200", { signal }),
  processes: (signal?: AbortSignal) => call<{ processes: ProcessRow[] }>("GET", "/processes", { signal }),
  deadLetters: (reason: string, limit: number, signal?: AbortSignal) => {
    const query = new URLSearchParams({ limit: String(limit), ...(reason ? { reason } : {}) });
    return call<DeadLetters>("GET", `/dead-letters?${query}`, { signal });
  },
  corrections: (campaignId: string, limit: number, signal?: AbortSignal) =>
    call<{ corrections: Correction[]; next_before: string | null }>(
      "GET",
      `/corrections?${new URLSearchParams({ campaign_id: campaignId, limit: String(limit) })}`,
      { signal },
    ),
  correctionTotals: (campaignId: string, signal?: AbortSignal) =>
    call<CorrectionTotals>("GET", `/corrections/totals?${new URLSearchParams({ campaign_id: campaignId })}`, { signal }),
  kpis: (id: string, window: string, fromMs: number, toMs: number, signal?: AbortSignal) =>
    call<{ rows: KpiRow[]; truncated: boolean }>(
      "GET",
      `${at(id)}/kpis?window=${window}&from_ms=${Math.round(fromMs)}&to_ms=${Math.round(toMs)}&level=campaign`,
      { signal },
    ),
};

/** A merge patch: null takes a field away. */
export type Changes = { [Name in keyof Omit<Definition, "bidding">]?: Definition[Name] | null } & {
  bidding?: { [Name in keyof Bidding]?: Bidding[Name] | null } | null;
};
