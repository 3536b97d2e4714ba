/** Decisions: a list in which each opens to what it was made from. */

import { useState } from "react";
import { change } from "../lib/decision-text";
import { dateTime, HERE, words } from "../lib/format";
import type { PlatformReceipt } from "../lib/records";
import type { Decision, Row } from "../live/protocol";
import { useAttention } from "./attention";
import { SIGNS } from "./chart";
import { DecisionStory } from "./decision-story";
import { DecisionWords } from "./decision-words";
import { ReceiptBadge } from "./receipts";

export type ReceiptsOf = ReadonlyMap<string, PlatformReceipt[]>;
const NO_RECEIPTS: ReceiptsOf = new Map();

const MODES: Record<string, string> = { recommend: "Recommendation", dry_run: "Dry run, nothing was changed" };
const SPOKEN = { approve: "approved", reject: "rejected", undo: "undone" };

export function DecisionList({
  decisions,
  rows,
  withCampaign,
  zone,
  limit,
  receipts = NO_RECEIPTS,
  label = "Decisions",
  asking,
}: {
  decisions: Decision[];
  rows: Map<string, Row>;
  withCampaign?: boolean;
  zone?: string;
  limit: number;
  receipts?: ReceiptsOf;
  label?: string;
  /** Show what may be said of each without opening it. */
  asking?: boolean;
}) {
  return (
    <ul aria-label={label} className="divide-y divide-line">
      {decisions.slice(0, limit).map((decision) => (
        <Item
          key={decision.decision_id}
          decision={decision}
          row={rows.get(decision.campaign_id)}
          withCampaign={withCampaign}
          zone={zone ?? HERE}
          receipts={receipts.get(decision.decision_id) ?? NOTHING}
          asking={asking}
        />
      ))}
    </ul>
  );
}

const NOTHING: PlatformReceipt[] = [];

function Item({
  decision,
  row,
  withCampaign,
  zone,
  receipts,
  asking,
}: {
  decision: Decision;
  row: Row | undefined;
  withCampaign?: boolean;
  zone: string;
  receipts: PlatformReceipt[];
  asking?: boolean;
}) {
  const { words: said, waiting } = useAttention();
  const [open, setOpen] = useState(false);
  const currency = row?.currency ?? "USD";
  const alarming = decision.kind === "pause" || decision.kind === "halt";
  const panel = `${asking ? "asking" : "decision"}-${decision.decision_id}`;
  const word = said.get(decision.decision_id)?.word;
  const waits = !asking && decision.mode === "recommend" && waiting.some((each) => each.decision_id === decision.decision_id);
  return (
    <li>
      <button
        type="button"
        aria-expanded={open}
        aria-controls={panel}
        onClick={() => setOpen(!open)}
        className="grid w-full grid-cols-[1.5rem_1fr] gap-x-2 px-3 py-1.5 text-left -outline-offset-2 hover:bg-raised sm:grid-cols-[1.5rem_12.5rem_minmax(0,1fr)_minmax(0,1fr)] lg:grid-cols-[1.5rem_12.5rem_minmax(0,1.4fr)_minmax(0,1fr)_minmax(0,1.2fr)]"
      >
        <span
          aria-hidden="true"
          className={`mt-px flex size-5 items-center justify-center rounded text-xs font-bold ${alarming ? "bg-bad-soft text-bad" : "bg-accent-soft text-accent"}`}
        >
          {SIGNS[decision.kind] ?? "•"}
        </span>
        <span className="text-muted max-sm:order-last max-sm:col-start-2">{dateTime(decision.ts_ms, zone)}</span>
        <span className="min-w-0 max-sm:col-start-2">
          <span className="font-semibold">{words(decision.kind)}</span>
          {withCampaign && <span className="text-muted"> · {row?.name || decision.campaign_id}</span>}
          {decision.mode !== "auto" && (
            <span className="ml-1.5 rounded bg-warn-soft px-1 text-xs text-warn">{MODES[decision.mode] ?? decision.mode}</span>
          )}
          {waits && <span className="ml-1.5 rounded bg-accent px-1 text-xs whitespace-nowrap text-on-accent">Waits for you</span>}
          {word && <span className="ml-1.5 rounded bg-line px-1 text-xs text-text">{SPOKEN[word]}</span>}
        </span>
        <span className="min-w-0 max-sm:col-start-2">{words(decision.reason)}</span>
        <span className="min-w-0 text-muted max-lg:col-start-2 sm:max-lg:col-start-4">{change(decision, currency)}</span>
        {receipts.length > 0 && (
          <span className="col-start-2 mt-0.5 flex min-w-0 flex-wrap gap-1 sm:col-start-3 sm:col-end-[-1]">
            {receipts.map((receipt) => (
              <ReceiptBadge key={receipt.receipt_id} receipt={receipt} />
            ))}
          </span>
        )}
      </button>
      {asking && !open && (
        <div className="px-3 pb-2 pl-11">
          <DecisionWords decision={decision} currency={currency} name={row?.name || decision.campaign_id} />
        </div>
      )}
      {open && (
        <DecisionStory
          id={panel}
          decision={decision}
          currency={currency}
          zone={zone}
          name={row?.name || decision.campaign_id}
          withCampaign={withCampaign}
          receipts={receipts}
        />
      )}
    </li>
  );
}
