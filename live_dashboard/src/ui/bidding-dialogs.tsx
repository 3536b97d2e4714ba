/** Dialogs of bidding: a bid by hand, and another strategy, goal or mode. */

import { type FormEvent, useState } from "react";
import { amountText, parseAmount } from "../lib/amount";
import { ApiError, api } from "../lib/api";
import { BIDDING_TITLES, type BiddingTexts, biddingTexts, differing, type Errors, LINK_TITLES, readBidding, TITLES } from "../lib/campaign-form";
import { changesOf } from "../lib/changes";
import { placed } from "../lib/field-errors";
import { money, words } from "../lib/format";
import type { Definition, StoredCampaign } from "../lib/records";
import { bidOf } from "../lib/table";
import type { Row } from "../live/protocol";
import { told } from "./actions";
import { BiddingFields } from "./bidding-fields";
import { Fields, TextField } from "./fields";
import { Button, Dialog, Notice } from "./parts";

interface DialogProps {
  onClose: () => void;
  onSaved: (text: string) => void;
}

export function SetBidDialog({ row, onClose, onSaved }: DialogProps & { row: Row }) {
  const now = bidOf(row);
  const [text, setText] = useState(amountText(now));
  const [note, setNote] = useState("");
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const [error, setError] = useState("");
  const micros = parseAmount(text);
  const wrong = micros === undefined || micros === null ? "Write an amount above zero, such as 2.50" : "";
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (wrong || busy || typeof micros !== "number") return;
    setBusy(true);
    setError("");
    try {
      await api.override(row.id, "set_bid", note, micros);
      onSaved(`A bid of ${money(micros, row.currency)} CPM was sent. It stays until you give the campaign back to automation.`);
    } catch (failure) {
      setError(told(failure));
      setBusy(false);
    }
  };
  const moved = now && typeof micros === "number" ? micros / now - 1 : null;
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Bid of ${row.name || row.id}`}
      description={`In ${row.currency} per thousand impressions (CPM). Automation keeps its hands off until you give it back.`}
    >
      <form noValidate className="mt-4 space-y-3" onSubmit={submit}>
        <TextField
          label="Bid"
          inputMode="decimal"
          value={text}
          onText={setText}
          error={(tried || text !== "") && wrong ? wrong : undefined}
          help={`${now === null ? "No bid yet" : `Now ${money(now, row.currency)}`}${moved ? `, a change of ${moved > 0 ? "+" : ""}${(moved * 100).toFixed(0)}%` : ""}`}
        />
        <TextField label="Note for the record (optional)" maxLength={1000} value={note} onText={setNote} />
        {error && (
          <div role="alert">
            <Notice tone="bad">{error}</Notice>
          </div>
        )}
        <div className="flex flex-wrap justify-end gap-2 pt-1">
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="accent" type="submit" aria-busy={busy}>
            Set this bid
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function BiddingDialog({ stored, onClose, onSaved }: DialogProps & { stored: StoredCampaign }) {
  const { campaign } = stored;
  const [texts, setTexts] = useState<BiddingTexts>(() => {
    const found = biddingTexts(campaign.bidding);
    return campaign.bidding ? found : { ...found, strategy: "manual" };
  });
  const [busy, setBusy] = useState(false);
  const [confirming, setConfirming] = useState(false);
  const [refused, setRefused] = useState<Errors>({});
  const wrong: Errors = {};
  const bidding = readBidding(texts, wrong);
  const changes = differing({ bidding }, campaign);
  const errors = { ...refused, ...wrong };
  const after = { ...campaign, bidding: { ...campaign.bidding, ...bidding } } as Definition;
  const list = changesOf(campaign, after);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy || Object.keys(wrong).length > 0 || list.length === 0) return;
    if (!confirming) {
      setConfirming(true);
      return;
    }
    setBusy(true);
    try {
      const saved = await api.change(campaign.campaign_id, changes, stored.version);
      onSaved(`Bidding changed in version ${saved.version}. The dataflow follows within a second.`);
    } catch (failure) {
      const found = failure instanceof ApiError ? placed(failure.errors, TITLES) : {};
      setRefused(Object.keys(found).length > 0 ? found : { "": told(failure) });
      setConfirming(false);
      setBusy(false);
    }
  };
  return (
    <Dialog
      wide
      open
      onOpenChange={(open) => !open && onClose()}
      title={`Bidding of ${campaign.name}`}
      description={`Strategy, goal and limits. Prices in ${campaign.currency}.`}
    >
      <form noValidate className="mt-4 space-y-3" onSubmit={submit}>
        <Fields>
          <BiddingFields
            texts={texts}
            currency={campaign.currency}
            errors={errors}
            onChange={(next) => {
              setTexts(next);
              setRefused({});
              setConfirming(false);
            }}
          />
        </Fields>
        {confirming && list.length > 0 && (
          <Notice tone="info">
            <p className="font-medium">This will change:</p>
            <ul>
              {list.map((each) => (
                <li key={each.field}>
                  {words(each.field.replace("Bidding: ", ""))}: {each.before} → <strong>{each.after}</strong>
                </li>
              ))}
            </ul>
          </Notice>
        )}
        <FormErrors errors={errors} />
        <div className="flex flex-wrap justify-end gap-2 pt-1">
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="accent" type="submit" aria-busy={busy} disabled={list.length === 0}>
            {confirming ? "Confirm the change" : "Change bidding…"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function titleOf(place: string): string {
  const last = place.split(".").at(-1) as keyof typeof LINK_TITLES;
  return TITLES[place] ?? LINK_TITLES[last] ?? BIDDING_TITLES.strategy;
}

/** What is wrong with the whole, or how many fields are. */
export function FormErrors({ errors }: { errors: Errors }) {
  const fields = Object.keys(errors).filter((name) => name !== "");
  if (!errors[""] && fields.length === 0) return null;
  return (
    <div role="alert">
      <Notice tone="bad">
        {errors[""] ?? `${fields.map(titleOf).join(", ")}: look again.`}
      </Notice>
    </div>
  );
}
