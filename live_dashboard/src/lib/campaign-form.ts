/** A campaign's definition as texts in a form, and back. */

import { amountText, parseAmount } from "./amount";
import type { Changes } from "./api";
import type { Bidding, Definition, Mode, PlatformLink, Strategy } from "./records";
import { instantOf, isZone, localText } from "./zoned";

export interface BiddingTexts {
  /** "" for no bidding: then only budgets and dates act. */
  strategy: Strategy | "";
  mode: Mode;
  bid_micros: string;
  target_cpa_micros: string;
  target_roas: string;
  bid_floor_micros: string;
  bid_cap_micros: string;
  /** In percent. */
  max_change: string;
  pacing: Bidding["pacing"];
}

export interface CampaignTexts {
  campaign_id: string;
  name: string;
  currency: string;
  time_zone: string;
  status: Definition["status"];
  daily_budget_micros: string;
  weekly_budget_micros: string;
  total_budget_micros: string;
  start_ms: string;
  end_ms: string;
}

export const BIDDING_TITLES: Record<keyof BiddingTexts, string> = {
  strategy: "Strategy",
  mode: "Mode",
  bid_micros: "Bid",
  target_cpa_micros: "Target CPA",
  target_roas: "Target ROAS",
  bid_floor_micros: "Lowest bid",
  bid_cap_micros: "Highest bid",
  max_change: "Largest step",
  pacing: "Pacing",
};
export const CAMPAIGN_TITLES: Record<keyof CampaignTexts, string> = {
  campaign_id: "Id",
  name: "Name",
  currency: "Currency",
  time_zone: "Time zone",
  status: "Status",
  daily_budget_micros: "Daily budget",
  weekly_budget_micros: "Weekly budget",
  total_budget_micros: "Total budget",
  start_ms: "Start",
  end_ms: "End",
};
/** Titles by the place that the api names in its errors. */
export const TITLES: Record<string, string> = {
  ...CAMPAIGN_TITLES,
  ...Object.fromEntries(Object.entries(BIDDING_TITLES).map(([name, title]) => [`bidding.${name}`, title])),
};

export type LinkTexts = { [Name in keyof Required<PlatformLink>]: string };

export const LINK_TITLES: Record<keyof LinkTexts, string> = {
  platform: "Platform",
  account_id: "Account",
  campaign_ref: "Campaign there",
  ad_group_ref: "Ad group there",
  budget_ref: "Budget there",
  bids_per: "Bid is for a",
};
const LINK_FIELDS = Object.keys(LINK_TITLES) as (keyof LinkTexts)[];

export const NEW_LINK: LinkTexts = { platform: "google", account_id: "", campaign_ref: "", ad_group_ref: "", budget_ref: "", bids_per: "thousand" };

export function linkTexts(links: PlatformLink[]): LinkTexts[] {
  return links.map((link) => Object.fromEntries(LINK_FIELDS.map((name) => [name, link[name] ?? NEW_LINK[name]])) as LinkTexts);
}

export function readLinks(texts: LinkTexts[], errors: Errors): PlatformLink[] {
  return texts.map((link, at) => {
    for (const name of ["account_id", "campaign_ref"] as const) {
      if (link[name].trim() === "") errors[`platforms.${at}.${name}`] = "The platform's id is needed";
    }
    const trimmed = Object.fromEntries(LINK_FIELDS.map((name) => [name, link[name].trim() || null]));
    return trimmed as unknown as PlatformLink;
  });
}

/** Titles of the places of so many links. */
export function linkTitles(links: number): Record<string, string> {
  const places = Array.from({ length: links }, (_, at) =>
    LINK_FIELDS.map((name) => [`platforms.${at}.${name}`, LINK_TITLES[name]] as const),
  );
  return Object.fromEntries(places.flat());
}

export type Errors = Record<string, string>;
const AMOUNT = "Write an amount above zero, such as 1250.50";

export function biddingTexts(bidding: Bidding | null): BiddingTexts {
  return {
    strategy: bidding?.strategy ?? "",
    mode: bidding?.mode ?? "auto",
    bid_micros: amountText(bidding?.bid_micros ?? null),
    target_cpa_micros: amountText(bidding?.target_cpa_micros ?? null),
    target_roas: bidding?.target_roas == null ? "" : String(bidding.target_roas),
    bid_floor_micros: amountText(bidding?.bid_floor_micros ?? null),
    bid_cap_micros: amountText(bidding?.bid_cap_micros ?? null),
    max_change: bidding ? String(Math.round(bidding.max_change * 1e4) / 100) : "30",
    pacing: bidding?.pacing ?? "even",
  };
}

export function campaignTexts(campaign: Definition | null, zone: string): CampaignTexts {
  const from = campaign?.time_zone ?? zone;
  return {
    campaign_id: campaign?.campaign_id ?? "",
    name: campaign?.name ?? "",
    currency: campaign?.currency ?? "",
    time_zone: from,
    status: campaign?.status ?? "active",
    daily_budget_micros: amountText(campaign?.daily_budget_micros ?? null),
    weekly_budget_micros: amountText(campaign?.weekly_budget_micros ?? null),
    total_budget_micros: amountText(campaign?.total_budget_micros ?? null),
    start_ms: localText(campaign?.start_ms ?? null, from),
    end_ms: localText(campaign?.end_ms ?? null, from),
  };
}

function amounts<Name extends string>(texts: Record<Name, string>, names: readonly Name[], errors: Errors, prefix = "") {
  const found = {} as Record<Name, number | null>;
  for (const name of names) {
    const micros = parseAmount(texts[name]);
    if (micros === undefined) errors[prefix + name] = AMOUNT;
    found[name] = micros ?? null;
  }
  return found;
}

function positive(text: string, place: string, errors: Errors): number | null {
  if (text.trim() === "") return null;
  const value = Number(text.trim().replace(",", "."));
  if (Number.isFinite(value) && value > 0) return value;
  errors[place] = "Write a number above zero";
  return null;
}

const PRICES = ["bid_micros", "target_cpa_micros", "bid_floor_micros", "bid_cap_micros"] as const;
const BUDGETS = ["daily_budget_micros", "weekly_budget_micros", "total_budget_micros"] as const;

/** What the texts of bidding say; fields that cannot be read go to `errors`. The rules are the server's. */
export function readBidding(texts: BiddingTexts, errors: Errors): Changes["bidding"] {
  if (texts.strategy === "") return null;
  const share = positive(texts.max_change, "bidding.max_change", errors);
  return {
    strategy: texts.strategy,
    mode: texts.mode,
    ...amounts(texts, PRICES, errors, "bidding."),
    target_roas: positive(texts.target_roas, "bidding.target_roas", errors),
    ...(share === null ? {} : { max_change: Math.round(share * 100) / 1e4 }),
    pacing: texts.pacing,
  };
}

/** What the texts of a campaign say, without its bidding. */
export function readCampaign(texts: CampaignTexts, errors: Errors): Changes {
  const zone = texts.time_zone.trim();
  const zoneKnown = isZone(zone);
  if (!zoneKnown) errors.time_zone = "Name a time zone, such as Europe/Berlin";
  return {
    name: texts.name.trim(),
    currency: texts.currency.trim().toUpperCase(),
    time_zone: zone,
    status: texts.status,
    ...amounts(texts, BUDGETS, errors),
    start_ms: zoneKnown ? instantOf(texts.start_ms, zone) : null,
    end_ms: zoneKnown ? instantOf(texts.end_ms, zone) : null,
  };
}

/** The fields of `wanted` that differ from what is stored. */
export function differing(wanted: Changes, stored: Definition): Changes {
  const changed = Object.entries(wanted).filter(([name, value]) => {
    if (name === "platforms") return JSON.stringify(linkTexts((value ?? []) as PlatformLink[])) !== JSON.stringify(linkTexts(stored.platforms));
    if (name !== "bidding") return value !== stored[name as keyof Definition];
    const was = stored.bidding as Record<string, unknown> | null;
    if (value === null || was === null) return value !== was;
    return Object.entries(value as object).some(([field, each]) => each !== (was[field] ?? null));
  });
  return Object.fromEntries(changed) as Changes;
}

/** An id out of a name: "Spring sale, 2026" -> "spring-sale-2026". */
export function idOf(name: string): string {
  const plain = name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64);
}
