/** What a person may do with a campaign: pause, resume, change its budgets. Each asks first and shows its error. */

import { useState } from "react";
import { amountText, parseAmount } from "../lib/amount";
import { ApiError, api, type Changes } from "../lib/api";
import { money } from "../lib/format";
import type { StoredCampaign } from "../lib/records";
import { editHref } from "../lib/route";
import type { Row } from "../live/protocol";
import { Button, Confirm, Dialog, Notice } from "./parts";

export function told(error: unknown): string {
  if (error instanceof ApiError && error.code === "unknown_campaign") {
    return "This campaign has events but no definition. Give it one first, under New campaign and with this id.";
  }
  return error instanceof Error ? error.message : String(error);
}

export function CampaignActions({ row }: { row: Row }) {
  const [asked, setAsked] = useState<"pause" | "resume" | null>(null);
  const [note, setNote] = useState("");
  const [stored, setStored] = useState<StoredCampaign | null>(null);
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState("");
  const [error, setError] = useState("");
  const isPaused = row.state === "paused";

  // The buttons stay enabled meanwhile: a disabled one would lose the focus.
  const attempt = async (action: () => Promise<string>) => {
    if (busy) return;
    setBusy(true);
    setError("");
    setDone("");
    try {
      setDone(await action());
    } catch (failure) {
      setError(told(failure));
    } finally {
      setBusy(false);
    }
  };

  const override = (action: "pause" | "resume") =>
    attempt(async () => {
      await api.override(row.id, action, note);
      setNote("");
      return action === "pause"
        ? "Pause was sent. Automation leaves the campaign paused until you resume it."
        : "Resume was sent. A budget that is spent still stops the campaign.";
    });

  const openBudgets = () =>
    attempt(async () => {
      setStored(await api.campaign(row.id));
      return "";
    });

  return (
    <div className="max-w-full min-w-0 space-y-2">
      <div className="flex flex-wrap gap-2 sm:justify-end">
        <Button tone={isPaused ? "plain" : "bad"} aria-busy={busy} onClick={() => setAsked(isPaused ? "resume" : "pause")}>
          {isPaused ? "Resume campaign" : "Pause campaign"}
        </Button>
        <Button aria-busy={busy} onClick={openBudgets}>
          Change budgets
        </Button>
        <a
          href={editHref(row.id)}
          className="inline-flex min-h-8 items-center rounded border border-edge bg-surface px-3 font-medium hover:bg-raised"
        >
          Edit
        </a>
      </div>
      <div aria-live="polite">{done && <Notice tone="good">{done}</Notice>}</div>
      {error && (
        <div role="alert">
          <Notice tone="bad">{error}</Notice>
        </div>
      )}
      <Confirm
        open={asked !== null}
        onClose={() => setAsked(null)}
        title={`${asked === "resume" ? "Resume" : "Pause"} ${row.name || row.id}?`}
        description={
          asked === "resume"
            ? "Bidding starts again within a second, unless a budget or a date stops it."
            : "Bidding stops within a second. What is in flight may still be spent. It stays paused until a person resumes it."
        }
        action={asked === "resume" ? "Resume" : "Pause"}
        tone={asked === "resume" ? "accent" : "bad"}
        onConfirm={() => asked && void override(asked)}
      >
        <label className="mt-3 block">
          <span className="text-muted">Note for the record (optional)</span>
          <input
            value={note}
            maxLength={1000}
            onChange={(event) => setNote(event.target.value)}
            className="mt-1 min-h-8 w-full rounded border border-edge bg-surface px-2"
          />
        </label>
      </Confirm>
      {stored && (
        <BudgetDialog
          stored={stored}
          onClose={() => setStored(null)}
          onSaved={(text) => {
            setStored(null);
            setDone(text);
          }}
        />
      )}
    </div>
  );
}

const FIELDS = [
  { name: "daily_budget_micros", title: "Daily budget" },
  { name: "weekly_budget_micros", title: "Weekly budget" },
  { name: "total_budget_micros", title: "Total budget" },
] as const;
type FieldName = (typeof FIELDS)[number]["name"];

function BudgetDialog({
  stored,
  onClose,
  onSaved,
}: {
  stored: StoredCampaign;
  onClose: () => void;
  onSaved: (text: string) => void;
}) {
  const { campaign } = stored;
  const [texts, setTexts] = useState<Record<FieldName, string>>(() => ({
    daily_budget_micros: amountText(campaign.daily_budget_micros),
    weekly_budget_micros: amountText(campaign.weekly_budget_micros),
    total_budget_micros: amountText(campaign.total_budget_micros),
  }));
  const [confirming, setConfirming] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const amounts = FIELDS.map((field) => ({ ...field, micros: parseAmount(texts[field.name]) }));
  const wrong = amounts.filter((amount) => amount.micros === undefined);
  const changed = amounts.filter((amount) => amount.micros !== undefined && amount.micros !== campaign[amount.name]);

  const shown = (micros: number | null) => (micros === null ? "none" : money(micros, campaign.currency));
  const save = async () => {
    setBusy(true);
    setError("");
    try {
      const changes = Object.fromEntries(changed.map((amount) => [amount.name, amount.micros])) as Changes;
      const saved = await api.change(campaign.campaign_id, changes);
      onSaved(`Budgets changed in version ${saved.version}. The dataflow follows within a second.`);
    } catch (failure) {
      setError(told(failure));
      setConfirming(false);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Budgets of ${campaign.name}`}
      description={`In ${campaign.currency}. An empty field means no budget of that kind.`}
    >
      <form
        className="mt-4 space-y-3"
        onSubmit={(event) => {
          event.preventDefault();
          if (wrong.length > 0 || changed.length === 0) return;
          if (confirming) void save();
          else setConfirming(true);
        }}
      >
        {amounts.map((amount) => (
          <label key={amount.name} className="block">
            <span className="font-medium">{amount.title}</span>
            <input
              inputMode="decimal"
              autoComplete="off"
              value={texts[amount.name]}
              aria-invalid={amount.micros === undefined}
              aria-describedby={`${amount.name}-help`}
              onChange={(event) => {
                setTexts({ ...texts, [amount.name]: event.target.value });
                setConfirming(false);
              }}
              className="mt-1 min-h-8 w-full rounded border border-edge bg-surface px-2 text-right"
            />
            <span id={`${amount.name}-help`} className={amount.micros === undefined ? "text-bad" : "text-muted"}>
              {amount.micros === undefined
                ? "Write an amount above zero, such as 1250.50"
                : `Now ${shown(campaign[amount.name])}`}
            </span>
          </label>
        ))}
        {confirming && (
          <Notice tone="info">
            <p className="font-medium">This will change:</p>
            <ul>
              {changed.map((amount) => (
                <li key={amount.name}>
                  {amount.title}: {shown(campaign[amount.name])} → <strong>{shown(amount.micros ?? null)}</strong>
                </li>
              ))}
            </ul>
          </Notice>
        )}
        {error && (
          <div role="alert">
            <Notice tone="bad">{error}</Notice>
          </div>
        )}
        <div className="flex flex-wrap justify-end gap-2 pt-1">
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="accent" type="submit" disabled={busy || wrong.length > 0 || changed.length === 0}>
            {confirming ? "Confirm the change" : "Change budgets…"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
