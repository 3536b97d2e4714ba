/** The fields of a bid strategy: only those that the chosen one uses. */

import { BIDDING_TITLES, type BiddingTexts, type Errors } from "../lib/campaign-form";
import type { Mode, Strategy } from "../lib/records";
import { SelectField, TextField } from "./fields";

export const STRATEGIES: readonly { id: Strategy; title: string; explain: string }[] = [
  { id: "manual", title: "Manual", explain: "The bid stays where you set it; pacing and budgets still act." },
  { id: "max_clicks", title: "Max clicks", explain: "As many clicks as the budget buys." },
  { id: "max_conversions", title: "Max conversions", explain: "As many conversions as the budget buys." },
  { id: "target_cpa", title: "Target CPA", explain: "Conversions at this cost each, on average." },
  { id: "target_roas", title: "Target ROAS", explain: "Revenue of so many times what is spent." },
];
export const MODES: readonly { id: Mode; title: string; explain: string }[] = [
  { id: "auto", title: "Automatic", explain: "Decisions take effect at once; each can be undone." },
  { id: "recommend", title: "Recommend", explain: "Decisions wait for your approval." },
  { id: "dry_run", title: "Dry run", explain: "Decisions are recorded and nothing changes." },
];

export function BiddingFields({
  texts,
  currency,
  errors,
  optional,
  onChange,
}: {
  texts: BiddingTexts;
  currency: string;
  errors: Errors;
  optional?: boolean;
  onChange: (texts: BiddingTexts) => void;
}) {
  const set = (changed: Partial<BiddingTexts>) => onChange({ ...texts, ...changed });
  const amount = (name: "bid_micros" | "target_cpa_micros" | "bid_floor_micros" | "bid_cap_micros", label: string, help: string) => (
    <TextField label={label} help={help} error={errors[`bidding.${name}`]} inputMode="decimal" value={texts[name]} onText={(text) => set({ [name]: text })} />
  );
  const strategies = optional ? [{ id: "" as const, title: "None: budgets and dates only" }, ...STRATEGIES] : STRATEGIES;
  return (
    <>
      <SelectField
        label={BIDDING_TITLES.strategy}
        help={STRATEGIES.find((each) => each.id === texts.strategy)?.explain}
        error={errors["bidding.strategy"] ?? errors.bidding}
        value={texts.strategy}
        options={strategies}
        onValue={(strategy) => set({ strategy })}
      />
      {texts.strategy !== "" && (
        <>
          <SelectField
            label={BIDDING_TITLES.mode}
            help={MODES.find((each) => each.id === texts.mode)?.explain}
            error={errors["bidding.mode"]}
            value={texts.mode}
            options={MODES}
            onValue={(mode) => set({ mode })}
          />
          {texts.strategy === "target_cpa" && amount("target_cpa_micros", BIDDING_TITLES.target_cpa_micros, `${currency} per conversion`)}
          {texts.strategy === "target_roas" && (
            <TextField
              label={BIDDING_TITLES.target_roas}
              help="Revenue per spend, such as 4"
              error={errors["bidding.target_roas"]}
              inputMode="decimal"
              value={texts.target_roas}
              onText={(text) => set({ target_roas: text })}
            />
          )}
          {amount("bid_micros", texts.strategy === "manual" ? "Bid" : "First bid", `${currency} per thousand impressions (CPM)`)}
          {texts.strategy !== "manual" && (
            <>
              {amount("bid_floor_micros", BIDDING_TITLES.bid_floor_micros, `${currency} CPM; empty for none`)}
              {amount("bid_cap_micros", BIDDING_TITLES.bid_cap_micros, `${currency} CPM; empty for none`)}
              <TextField
                label={BIDDING_TITLES.max_change}
                help="Percent that a bid moves at most at once"
                error={errors["bidding.max_change"]}
                inputMode="decimal"
                value={texts.max_change}
                onText={(text) => set({ max_change: text })}
              />
            </>
          )}
          <SelectField
            label={BIDDING_TITLES.pacing}
            error={errors["bidding.pacing"]}
            value={texts.pacing}
            options={[
              { id: "even", title: "Even: spread over the day" },
              { id: "asap", title: "As soon as possible" },
            ]}
            onValue={(pacing) => set({ pacing })}
          />
        </>
      )}
    </>
  );
}
