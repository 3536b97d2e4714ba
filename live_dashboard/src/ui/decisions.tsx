/** Decisions: a list in which each opens to what it was made from. */

import { type ReactNode, useState } from "react";
import { api } from "../lib/api";
import { dateTime, fieldName, fieldValue, HERE, words } from "../lib/format";
import { campaignHref } from "../lib/route";
import type { Decision, Row } from "../live/protocol";
import { SIGNS } from "./chart";
import { Button, Confirm, Notice, Undefined } from "./parts";

/** "Bid €2.10 → €2.35", or the kind alone where it says all. */
export function change(decision: Decision, currency: string): string {
  const parts = Object.keys(decision.after)
    .filter((name) => typeof decision.after[name] !== "boolean")
    .map((name) => {
      const before = fieldValue(name, decision.before[name], currency);
      return `${fieldName(name)} ${before} → ${fieldValue(name, decision.after[name], currency)}`;
    });
  if (parts.length > 0) return parts.join(", ");
  const { spend_micros: spent, budget_micros: budget } = decision.inputs;
  return typeof spent === "number" && typeof budget === "number"
    ? `${fieldValue("spend_micros", spent, currency)} of ${fieldValue("budget_micros", budget, currency)} spent`
    : "";
}

const MODES: Record<string, string> = { recommend: "Recommendation", dry_run: "Dry run, nothing was changed" };

export function DecisionList({
  decisions,
  rows,
  withCampaign,
  zone,
  limit,
}: {
  decisions: Decision[];
  rows: Map<string, Row>;
  withCampaign?: boolean;
  zone?: string;
  limit: number;
}) {
  return (
    <ul aria-label="Decisions" className="divide-y divide-line">
      {decisions.slice(0, limit).map((decision) => (
        <Item
          key={decision.decision_id}
          decision={decision}
          row={rows.get(decision.campaign_id)}
          withCampaign={withCampaign}
          zone={zone ?? HERE}
        />
      ))}
    </ul>
  );
}

function Item({
  decision,
  row,
  withCampaign,
  zone,
}: {
  decision: Decision;
  row: Row | undefined;
  withCampaign?: boolean;
  zone: string;
}) {
  const [open, setOpen] = useState(false);
  const currency = row?.currency ?? "USD";
  const alarming = decision.kind === "pause" || decision.kind === "halt";
  const panel = `decision-${decision.decision_id}`;
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
        </span>
        <span className="min-w-0 max-sm:col-start-2">{words(decision.reason)}</span>
        <span className="min-w-0 text-muted max-lg:col-start-2 sm:max-lg:col-start-4">{change(decision, currency)}</span>
      </button>
      {open && <Explained id={panel} decision={decision} currency={currency} zone={zone} withCampaign={withCampaign} />}
    </li>
  );
}

function Explained({
  id,
  decision,
  currency,
  zone,
  withCampaign,
}: {
  id: string;
  decision: Decision;
  currency: string;
  zone: string;
  withCampaign?: boolean;
}) {
  return (
    <div id={id} className="grid gap-x-8 gap-y-3 border-t border-line bg-raised px-3 py-3 sm:grid-cols-2 sm:pl-11 lg:grid-cols-3">
      <Facts title="Before and after">
        {Object.keys(decision.after).map((name) => (
          <Fact key={name} name={fieldName(name)}>
            {fieldValue(name, decision.before[name], currency)} <span className="text-muted">→</span>{" "}
            <strong>{fieldValue(name, decision.after[name], currency)}</strong>
          </Fact>
        ))}
        <Fact name="Effective">{dateTime(decision.effective_ms, zone)}</Fact>
      </Facts>
      <Facts title="From these numbers">
        {Object.entries(decision.inputs).map(([name, value]) => (
          <Fact key={name} name={fieldName(name)}>
            {fieldValue(name, value, currency)}
          </Fact>
        ))}
      </Facts>
      <Facts title="Expected effect, 90% interval">
        {decision.expected.length === 0 && (
          <Fact name="Effect">
            <Undefined why="This decision states no expected effect" />
          </Fact>
        )}
        {decision.expected.map((effect) => (
          <Fact key={effect.measure} name={fieldName(effect.measure)}>
            {fieldValue(effect.measure, effect.expected, currency)}{" "}
            <span className="text-muted">
              ({fieldValue(effect.measure, effect.low, currency)} to {fieldValue(effect.measure, effect.high, currency)})
            </span>
          </Fact>
        ))}
      </Facts>
      <Facts title="Made by">
        <Fact name="Policy">{decision.policy}</Fact>
        <Fact name="Mode">{words(decision.mode)}</Fact>
        {decision.cause_event && <Fact name="Tipped by event">{decision.cause_event}</Fact>}
        <Fact name="Decision">
          <span className="font-mono text-xs break-all">{decision.decision_id}</span>
        </Fact>
      </Facts>
      <Facts title="To undo" after={<Words decision={decision} currency={currency} />}>
        <Fact name="Undo">
          {decision.undo
            ? `${words(String(decision.undo.kind ?? "undo"))}${undoDetail(decision.undo, currency)}`
            : "Nothing needs undoing"}
        </Fact>
      </Facts>
      {withCampaign && (
        <p className="self-end">
          <a href={campaignHref(decision.campaign_id)} className="font-medium text-accent underline underline-offset-2">
            Open {decision.campaign_id}
          </a>
        </p>
      )}
    </div>
  );
}

/** A person's word on the decision: undo what took effect, approve or reject what is recommended. */
function Words({ decision, currency }: { decision: Decision; currency: string }) {
  const [said, setSaid] = useState("");
  const [error, setError] = useState("");
  const [asked, setAsked] = useState<"undo" | "approve" | "reject" | null>(null);
  const words = decision.mode === "recommend" ? (["approve", "reject"] as const) : decision.undo ? (["undo"] as const) : [];
  if (words.length === 0) return null;
  const say = async (word: "undo" | "approve" | "reject") => {
    setError("");
    try {
      await api.say(decision.decision_id, word);
      setSaid(SAID[word]);
    } catch (failure) {
      setError(String((failure as Error).message));
    }
  };
  return (
    <div className="mt-2 space-y-2">
      {!said && (
        <div className="flex flex-wrap gap-2">
          {words.map((word) => (
            <Button key={word} onClick={() => setAsked(word)}>
              {LABELS[word]}
            </Button>
          ))}
        </div>
      )}
      <p aria-live="polite">{said}</p>
      {error && <Notice tone="bad">{error}</Notice>}
      <Confirm
        open={asked !== null}
        onClose={() => setAsked(null)}
        title={asked ? `${LABELS[asked]}?` : ""}
        description={`${decision.campaign_id}: ${change(decision, currency) || decision.kind}. The dataflow acts on your word within a second.`}
        action={asked ? LABELS[asked] : ""}
        onConfirm={() => (asked ? say(asked) : undefined)}
      />
    </div>
  );
}

const LABELS = { undo: "Undo this decision", approve: "Approve", reject: "Reject" };
const SAID = {
  undo: "Undo was sent; a new decision follows.",
  approve: "Approved; it takes effect now.",
  reject: "Rejected; nothing changes.",
};

function undoDetail(undo: Record<string, unknown>, currency: string): string {
  const after = undo.after;
  if (typeof after !== "object" || after === null) return "";
  const parts = Object.entries(after)
    .filter(([, value]) => typeof value !== "boolean")
    .map(([name, value]) => `${fieldName(name).toLowerCase()} to ${fieldValue(name, value, currency)}`);
  return parts.length > 0 ? `: ${parts.join(", ")}` : "";
}

function Facts({ title, children, after }: { title: string; children: ReactNode; after?: ReactNode }) {
  return (
    <div className="min-w-0">
      <h3 className="mb-1 text-xs font-semibold text-muted">{title}</h3>
      <dl className="space-y-0.5">{children}</dl>
      {after}
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex justify-between gap-3">
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 text-right break-words">{children}</dd>
    </div>
  );
}
