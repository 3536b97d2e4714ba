/** A new campaign, or an existing one changed: every field, with the server's word beside it. */

import { type FormEvent, useEffect, useState } from "react";
import { ApiError, api } from "../lib/api";
import {
  BIDDING_TITLES,
  type BiddingTexts,
  biddingTexts,
  CAMPAIGN_TITLES,
  type CampaignTexts,
  campaignTexts,
  differing,
  type Errors,
  idOf,
  type LinkTexts,
  linkTexts,
  linkTitles,
  readBidding,
  readCampaign,
  readLinks,
  TITLES,
} from "../lib/campaign-form";
import { placed } from "../lib/field-errors";
import { HERE } from "../lib/format";
import type { Definition, StoredCampaign } from "../lib/records";
import { campaignHref } from "../lib/route";
import { told } from "../ui/actions";
import { FormErrors } from "../ui/bidding-dialogs";
import { BiddingFields } from "../ui/bidding-fields";
import { Fields, SelectField, TextField } from "../ui/fields";
import { Button, Card, Empty } from "../ui/parts";
import { PlatformFields } from "../ui/platform-fields";

const CURRENCIES = ["USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "SEK", "NOK", "DKK", "PLN", "CZK", "INR", "BRL", "MXN"];
const ZONES = Intl.supportedValuesOf("timeZone");

export function NewCampaignPage() {
  return <CampaignForm stored={null} />;
}

export function CampaignEditPage({ id }: { id: string }) {
  const [stored, setStored] = useState<StoredCampaign | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    api.campaign(id, stop.signal).then(setStored, (failure: unknown) => {
      if (!stop.signal.aborted) setError(told(failure));
    });
    return () => stop.abort();
  }, [id]);
  if (error) {
    return (
      <Empty title={`${id} cannot be edited`}>
        <p role="alert">{error}</p>
        <p>
          <a href={campaignHref(id)} className="font-medium text-accent underline underline-offset-2">Back</a>
        </p>
      </Empty>
    );
  }
  if (!stored) return <p role="status" className="py-10 text-center text-muted">Loading campaign…</p>;
  return <CampaignForm stored={stored} />;
}

function CampaignForm({ stored }: { stored: StoredCampaign | null }) {
  const campaign = stored?.campaign ?? null;
  const [texts, setTexts] = useState<CampaignTexts>(() => campaignTexts(campaign, HERE));
  const [bidding, setBidding] = useState<BiddingTexts>(() => biddingTexts(campaign?.bidding ?? null));
  const [links, setLinks] = useState<LinkTexts[]>(() => linkTexts(campaign?.platforms ?? []));
  const [idTouched, setIdTouched] = useState(false);
  const [tried, setTried] = useState(false);
  const [refused, setRefused] = useState<Errors>({});
  const [busy, setBusy] = useState(false);

  const wrong: Errors = {};
  const wanted = { ...readCampaign(texts, wrong), bidding: readBidding(bidding, wrong), platforms: readLinks(links, wrong) };
  const id = campaign?.campaign_id ?? (idTouched ? texts.campaign_id : idOf(texts.name));
  if (id === "") wrong.campaign_id = "Give it an id";
  const errors = { ...refused, ...(tried ? wrong : {}) };
  const set = (changed: Partial<CampaignTexts>) => {
    setTexts({ ...texts, ...changed });
    setRefused(without(refused, [...Object.keys(changed), ""]));
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (busy || Object.keys(wrong).length > 0) return;
    setBusy(true);
    try {
      if (stored) await api.change(id, differing(wanted, stored.campaign), stored.version);
      else await api.create({ ...(wanted as Definition), campaign_id: id });
      location.hash = campaignHref(id);
    } catch (failure) {
      setRefused(said(failure, !stored, links.length));
      setBusy(false);
    }
  };

  const field = (name: keyof CampaignTexts, help?: string) => ({
    label: CAMPAIGN_TITLES[name],
    help,
    error: errors[name],
    value: texts[name],
    onText: (text: string) => set({ [name]: text }),
  });
  const budget = (name: "daily_budget_micros" | "weekly_budget_micros" | "total_budget_micros", help: string) => (
    <TextField {...field(name, help)} inputMode="decimal" />
  );
  const currency = texts.currency.trim().toUpperCase() || "the campaign's currency";
  return (
    <form noValidate onSubmit={submit} className="mx-auto max-w-5xl space-y-3">
      <h1 className="text-lg leading-7 font-semibold break-words">{campaign ? `Edit ${campaign.name}` : "New campaign"}</h1>
      <Card title="Campaign">
        <div className="p-3">
          <Fields>
            <TextField {...field("name")} maxLength={200} required />
            <TextField
              {...field("campaign_id", campaign ? "Events name it; it stays" : "Events name it as campaign_id")}
              error={errors.campaign_id}
              value={id}
              readOnly={campaign !== null}
              required
              spellCheck={false}
              onText={(text) => {
                setIdTouched(true);
                set({ campaign_id: text });
              }}
            />
            <TextField
              {...field("currency", campaign ? "It stays: what was spent is counted in it" : "Three letters, such as EUR")}
              list="currencies"
              maxLength={3}
              readOnly={campaign !== null}
              required
              className="uppercase"
            />
            <TextField {...field("time_zone", "Its days, and the dates below, follow it")} list="zones" required spellCheck={false} />
            {campaign && (
              <SelectField
                label={CAMPAIGN_TITLES.status}
                error={errors.status}
                value={texts.status}
                options={[
                  { id: "active", title: "Active" },
                  { id: "paused", title: "Paused" },
                  { id: "archived", title: "Archived" },
                ]}
                onValue={(status) => set({ status })}
              />
            )}
          </Fields>
          <datalist id="currencies">
            {CURRENCIES.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
          <datalist id="zones">
            {ZONES.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </div>
      </Card>
      <Card title="Budgets and dates">
        <div className="p-3">
          <Fields>
            {budget("daily_budget_micros", `In ${currency}; empty for none`)}
            {budget("weekly_budget_micros", `In ${currency}, from Monday; empty for none`)}
            {budget("total_budget_micros", `In ${currency}; empty for none`)}
            <TextField {...field("start_ms", `${texts.time_zone}; empty for at once`)} type="datetime-local" />
            <TextField {...field("end_ms", `${texts.time_zone}; empty for never`)} type="datetime-local" />
          </Fields>
        </div>
      </Card>
      <Card title="Bidding">
        <div className="p-3">
          <Fields>
            <BiddingFields
              optional
              texts={bidding}
              currency={currency}
              errors={errors}
              onChange={(next) => {
                setBidding(next);
                setRefused(without(refused, ["", "bidding", ...Object.keys(BIDDING_TITLES).map((name) => `bidding.${name}`)]));
              }}
            />
          </Fields>
        </div>
      </Card>
      <Card title="Ad platforms">
        <div className="p-3">
          <PlatformFields
            links={links}
            errors={errors}
            onChange={(next) => {
              setLinks(next);
              setRefused(without(refused, ["", ...Object.keys(linkTitles(links.length))]));
            }}
          />
        </div>
      </Card>
      <FormErrors errors={errors} />
      <div className="flex flex-wrap items-center justify-end gap-3">
        <a href={campaign ? campaignHref(id) : "#/"} className="font-medium text-accent underline underline-offset-2">
          Cancel
        </a>
        <Button tone="accent" type="submit" aria-busy={busy}>
          {campaign ? "Save changes" : "Create campaign"}
        </Button>
      </div>
    </form>
  );
}

function without(errors: Errors, names: string[]): Errors {
  return Object.fromEntries(Object.entries(errors).filter(([name]) => !names.includes(name)));
}

/** What the api refused, by field. */
function said(failure: unknown, isNew: boolean, links: number): Errors {
  if (failure instanceof ApiError) {
    if (failure.code === "version_conflict") {
      return isNew
        ? { campaign_id: "There is a campaign with this id already" }
        : { "": "Somebody else changed this campaign meanwhile. Open it again to see how it stands." };
    }
    const found = placed(failure.errors, { ...TITLES, ...linkTitles(links) });
    if (Object.keys(found).length > 0) return found;
    if (failure.message.includes("pattern")) return { campaign_id: failure.message };
  }
  return { "": told(failure) };
}
