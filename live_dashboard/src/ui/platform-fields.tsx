/** Where a campaign lives on ad platforms: one row of fields a link. */

import { type Errors, LINK_TITLES, type LinkTexts, NEW_LINK } from "../lib/campaign-form";
import { platformName } from "../lib/format";
import { Fields, SelectField, TextField } from "./fields";
import { Button } from "./parts";

const PLATFORMS = ["google", "facebook", "tiktok", "linkedin", "twitter", "openrtb"].map((id) => ({ id, title: platformName(id) }));
const HELP: Partial<Record<keyof LinkTexts, string>> = {
  account_id: "The platform's id of the ad account",
  campaign_ref: "The platform's id of the campaign",
  ad_group_ref: "What carries the bid, where it is not the campaign",
  budget_ref: "What carries the budget, where it is not the campaign",
};
const TEXTS = ["account_id", "campaign_ref", "ad_group_ref", "budget_ref"] as const;

export function PlatformFields({ links, errors, onChange }: { links: LinkTexts[]; errors: Errors; onChange: (links: LinkTexts[]) => void }) {
  return (
    <div className="space-y-4">
      {links.length === 0 && <p className="text-muted">None: decisions are made and sent to no platform.</p>}
      {links.map((link, at) => (
        <fieldset key={at} className="border-b border-line pb-4">
          <legend className="sr-only">
            Link {at + 1}: {platformName(link.platform)}
          </legend>
          <Fields>
            <SelectField
              label={LINK_TITLES.platform}
              error={errors[`platforms.${at}.platform`]}
              value={link.platform}
              options={PLATFORMS}
              onValue={(platform) => onChange(links.with(at, { ...link, platform }))}
            />
            {TEXTS.map((name) => (
              <TextField
                key={name}
                label={LINK_TITLES[name]}
                help={HELP[name]}
                error={errors[`platforms.${at}.${name}`]}
                spellCheck={false}
                value={link[name]}
                onText={(text) => onChange(links.with(at, { ...link, [name]: text }))}
              />
            ))}
            <div className="self-center">
              <Button onClick={() => onChange(links.toSpliced(at, 1))}>
                Remove<span className="sr-only"> link {at + 1}</span>
              </Button>
            </div>
          </Fields>
        </fieldset>
      ))}
      <Button onClick={() => onChange([...links, NEW_LINK])}>Add a platform</Button>
    </div>
  );
}
