import { describe, expect, it } from "vitest";
import { biddingTexts, campaignTexts, differing, type Errors, idOf, linkTexts, linkTitles, NEW_LINK, readBidding, readCampaign, readLinks, TITLES } from "../src/lib/campaign-form";
import { changesOf } from "../src/lib/changes";
import { placed } from "../src/lib/field-errors";
import type { Bidding, Definition } from "../src/lib/records";
import { instantOf, isZone, localText } from "../src/lib/zoned";

const BIDDING: Bidding = {
  strategy: "target_cpa",
  mode: "auto",
  bid_micros: 2_500_000,
  bid_floor_micros: null,
  bid_cap_micros: null,
  target_cpa_micros: 40_000_000,
  target_roas: null,
  max_change: 0.3,
  pacing: "even",
  auction: "second",
};
const CAMPAIGN: Definition = {
  campaign_id: "c1",
  name: "One",
  currency: "EUR",
  time_zone: "Europe/Berlin",
  status: "active",
  daily_budget_micros: 500_000_000,
  weekly_budget_micros: null,
  total_budget_micros: null,
  start_ms: Date.UTC(2026, 0, 31, 8),
  end_ms: null,
  bidding: BIDDING,
  platforms: [],
};

describe("local times", () => {
  it.each([
    ["2026-01-31T09:00", "Europe/Berlin", Date.UTC(2026, 0, 31, 8)],
    ["2026-07-31T09:00", "Europe/Berlin", Date.UTC(2026, 6, 31, 7)],
    ["2026-03-29T03:30", "Europe/Berlin", Date.UTC(2026, 2, 29, 1, 30)],
    ["2026-01-01T00:00", "Asia/Kolkata", Date.UTC(2025, 11, 31, 18, 30)],
    ["2026-11-01T12:00", "America/Los_Angeles", Date.UTC(2026, 10, 1, 20)],
  ])("%s in %s is one instant, and back", (text, zone, ms) => {
    expect(instantOf(text, zone)).toBe(ms);
    expect(localText(ms, zone)).toBe(text);
  });

  it("none is none", () => {
    expect([instantOf("", "UTC"), localText(null, "UTC")]).toEqual([null, ""]);
  });

  it("knows a zone from a typo", () => {
    expect([isZone("Asia/Tokyo"), isZone("Asia/Tokio"), isZone("")]).toEqual([true, false, false]);
  });
});

describe("a form", () => {
  it("that nobody touched changes nothing", () => {
    const errors: Errors = {};
    const wanted = { ...readCampaign(campaignTexts(CAMPAIGN, "UTC"), errors), bidding: readBidding(biddingTexts(BIDDING), errors), platforms: [] };
    expect(errors).toEqual({});
    expect(differing(wanted, CAMPAIGN)).toEqual({});
  });

  it("sends only what differs, and null for what was emptied", () => {
    const texts = { ...campaignTexts(CAMPAIGN, "UTC"), daily_budget_micros: "", weekly_budget_micros: "1,250.50" };
    const changes = differing(readCampaign(texts, {}), CAMPAIGN);
    expect(changes).toEqual({ daily_budget_micros: null, weekly_budget_micros: 1_250_500_000 });
  });

  it("says which field it cannot read", () => {
    const errors: Errors = {};
    readCampaign({ ...campaignTexts(CAMPAIGN, "UTC"), total_budget_micros: "much", time_zone: "Mars" }, errors);
    readBidding({ ...biddingTexts(BIDDING), target_roas: "-1" }, errors);
    expect(Object.keys(errors).sort()).toEqual(["bidding.target_roas", "time_zone", "total_budget_micros"]);
  });

  it("reads links to platforms, empty places as none", () => {
    const [texts] = [linkTexts([{ platform: "tiktok", account_id: "7", campaign_ref: " 8 ", ad_group_ref: null, budget_ref: null }])];
    const errors: Errors = {};
    expect(readLinks([...texts, NEW_LINK], errors)[0]).toEqual({
      platform: "tiktok", account_id: "7", campaign_ref: "8", ad_group_ref: null, budget_ref: null, bids_per: "thousand",
    });
    expect(Object.keys(errors)).toEqual(["platforms.1.account_id", "platforms.1.campaign_ref"]);
    expect(Object.keys(linkTitles(1))).toContain("platforms.0.budget_ref");
  });

  it("without a strategy takes bidding away", () => {
    expect(readBidding({ ...biddingTexts(BIDDING), strategy: "" }, {})).toBeNull();
  });

  it.each([
    ["Spring sale, 2026!", "spring-sale-2026"],
    ["Crème  Brûlée", "creme-brulee"],
    ["---", ""],
  ])("makes an id of the name %s", (name, id) => {
    expect(idOf(name)).toBe(id);
  });
});

describe("what the server refuses", () => {
  it("is put at its field", () => {
    expect(placed([{ field: "daily_budget_micros", detail: "Input should be greater than 0" }], TITLES)).toEqual({
      daily_budget_micros: "Input should be greater than 0",
    });
  });

  it.each([
    ["target_cpa needs target_cpa_micros", "bidding.target_cpa_micros", "Target_cpa needs Target CPA"],
    ["bid_floor_micros is above bid_cap_micros", "bidding.bid_cap_micros", "Lowest bid is above Highest bid"],
    ["manual needs bid_micros", "bidding.bid_micros", "Manual needs Bid"],
  ])("as a rule over fields, %s, is put at the field it names last", (detail, place, text) => {
    expect(placed([{ field: "bidding", detail: `Value error, ${detail}` }], TITLES)).toEqual({ [place]: text });
  });

  it("names times as the form does", () => {
    expect(placed([{ field: "", detail: "Value error, end is not after start" }], TITLES)).toEqual({ start_ms: "End is not after Start" });
  });

  it("without a field that is shown is told with its place", () => {
    expect(placed([{ field: "creatives.0", detail: "too long" }], TITLES)).toEqual({ "": "creatives.0: Too long" });
  });
});

describe("changes", () => {
  it("are told field by field, in money", () => {
    const after = { ...CAMPAIGN, daily_budget_micros: null, bidding: { ...BIDDING, bid_micros: 3_000_000 } };
    expect(changesOf(CAMPAIGN, after)).toEqual([
      { field: "Daily budget", before: "€500.00", after: "none" },
      { field: "Bidding: bid", before: "€2.50", after: "€3.00" },
    ]);
  });

  it("have none in a first version", () => {
    expect(changesOf(null, CAMPAIGN)).toEqual([]);
  });
});
