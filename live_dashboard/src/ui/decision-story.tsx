/** All that is known of one decision: in words, from which numbers, with what effect, where it went, how to undo it. */

import { type ReactNode, useEffect, useState } from "react";
import { api } from "../lib/api";
import { dateTime, fieldName, fieldValue, words } from "../lib/format";
import type { PlatformReceipt } from "../lib/records";
import { campaignHref } from "../lib/route";
import type { Decision } from "../live/protocol";
import { DecisionWords } from "./decision-words";
import { Undefined } from "./parts";
import { ReceiptStory } from "./receipts";

/** The api's own words on the decision; empty while it is on its way, or where the api has none. */
function useExplanation(decisionId: string): string {
  const [text, setText] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    api.decision(decisionId, stop.signal).then(
      (decision) => setText(decision.explanation ?? ""),
      // The numbers below say the same.
      () => setText(""),
    );
    return () => stop.abort();
  }, [decisionId]);
  return text;
}

export function DecisionStory({
  id,
  decision,
  currency,
  zone,
  name,
  withCampaign,
  receipts,
}: {
  id: string;
  decision: Decision;
  currency: string;
  zone: string;
  name: string;
  withCampaign?: boolean;
  receipts: PlatformReceipt[];
}) {
  const explanation = useExplanation(decision.decision_id);
  return (
    <div id={id} className="gap-x-8 border-t border-line bg-raised px-3 pt-3 sm:columns-2 sm:pl-11 lg:columns-3">
      {explanation && <Explanation text={explanation} />}
      <Facts title="Before and after">
        {Object.keys(decision.after).map((field) => (
          <Fact key={field} name={fieldName(field)}>
            {fieldValue(field, decision.before[field], currency)} <span className="text-muted">→</span>{" "}
            <strong>{fieldValue(field, decision.after[field], currency)}</strong>
          </Fact>
        ))}
        <Fact name="Effective">{dateTime(decision.effective_ms, zone)}</Fact>
      </Facts>
      <Facts title="From these numbers">
        {Object.entries(decision.inputs).map(([field, value]) => (
          <Fact key={field} name={fieldName(field)}>
            {fieldValue(field, value, currency)}
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
        <Fact name="Reason">{words(decision.reason)}</Fact>
        <Fact name="Policy">{decision.policy}</Fact>
        <Fact name="Mode">{words(decision.mode)}</Fact>
        {decision.cause_event && <Fact name="Tipped by event">{decision.cause_event}</Fact>}
        <Fact name="Decision">
          <span className="font-mono text-xs break-all">{decision.decision_id}</span>
        </Fact>
      </Facts>
      <Facts title={decision.mode === "recommend" ? "Your word" : "To undo"} after={<DecisionWords decision={decision} currency={currency} name={name} />}>
        <Fact name="Undo">
          {decision.undo
            ? `${words(String(decision.undo.kind ?? "undo"))}${undoDetail(decision.undo, currency)}`
            : "Nothing needs undoing"}
        </Fact>
      </Facts>
      {receipts.length > 0 && (
        <div className="mb-3 min-w-0 break-inside-avoid space-y-2">
          <h3 className="text-xs font-semibold text-muted">On ad platforms</h3>
          {receipts.map((receipt) => (
            <ReceiptStory key={receipt.receipt_id} receipt={receipt} zone={zone} />
          ))}
        </div>
      )}
      {withCampaign && (
        <p className="pb-3">
          <a href={campaignHref(decision.campaign_id)} className="font-medium text-accent underline underline-offset-2">
            Open {decision.campaign_id}
          </a>
        </p>
      )}
    </div>
  );
}

/** Its first line says what and why; the lines below it name the numbers, as the facts do. */
function Explanation({ text }: { text: string }) {
  const [first = "", ...rest] = text.split("\n");
  return (
    <div className="mb-3 [column-span:all]">
      <p className="max-w-[80ch] font-medium break-words">{first}</p>
      {rest.length > 0 && (
        <details>
          <summary className="w-fit cursor-pointer text-accent underline underline-offset-2">All of it in words</summary>
          <p className="mt-1 max-w-[100ch] break-words whitespace-pre-line">{rest.map((line) => line.trim()).join("\n")}</p>
        </details>
      )}
    </div>
  );
}

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
    <div className="mb-3 min-w-0 break-inside-avoid">
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
