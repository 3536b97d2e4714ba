/** What became of decisions on ad platforms. */

import { dateTime, platformName, words } from "../lib/format";
import type { PlatformReceipt, ReceiptState } from "../lib/records";
import { campaignHref } from "../lib/route";
import { Notice } from "./parts";

const LOOKS: Record<ReceiptState, { tone: string; sign: string; text: string; explain: string }> = {
  sending: { tone: "bg-line text-text", sign: "→", text: "sending", explain: "It is on its way" },
  applied: { tone: "bg-good-soft text-good", sign: "✓", text: "applied", explain: "The platform has taken the change" },
  dry_run: { tone: "bg-accent-soft text-accent", sign: "◌", text: "dry run", explain: "No credentials: the requests were recorded and not sent" },
  retrying: { tone: "bg-warn-soft text-warn", sign: "↻", text: "retrying", explain: "It failed and is tried again" },
  rejected: { tone: "bg-bad-soft text-bad", sign: "✕", text: "rejected", explain: "The platform refused it and would refuse it again" },
  parked: { tone: "bg-bad-soft text-bad", sign: "‖", text: "parked", explain: "It failed for a day and waits for a person: penstock actuate --retry-parked" },
  superseded: { tone: "bg-line text-text", sign: "»", text: "superseded", explain: "A newer decision on the same field came first" },
  unsupported: { tone: "bg-line text-text", sign: "–", text: "not supported", explain: "The platform has no such control" },
};

export function ReceiptBadge({ receipt }: { receipt: PlatformReceipt }) {
  const look = LOOKS[receipt.state] ?? LOOKS.unsupported;
  return (
    <span title={receipt.message ?? look.explain} className={`inline-flex items-center gap-1 rounded px-1.5 text-xs font-medium whitespace-nowrap ${look.tone}`}>
      <span aria-hidden="true">{look.sign}</span>
      {platformName(receipt.platform)}: {look.text}
      {receipt.state === "retrying" && ` (${receipt.attempts})`}
    </span>
  );
}

/** The platform's words in quotation marks; our own where it never came to that. */
export function said(receipt: PlatformReceipt): string {
  const ours = receipt.state === "dry_run" || receipt.state === "superseded" || receipt.state === "unsupported";
  return ours ? `${words(receipt.message ?? "")}.` : `“${receipt.message}”`;
}

/** One sending in full: where to, when, the platform's own words, and what was sent. */
export function ReceiptStory({ receipt, zone }: { receipt: PlatformReceipt; zone: string }) {
  const look = LOOKS[receipt.state] ?? LOOKS.unsupported;
  return (
    <div className="space-y-0.5">
      <p className="flex flex-wrap items-center gap-x-2">
        <ReceiptBadge receipt={receipt} />
        <span className="break-all text-muted">
          account {receipt.account_id}, campaign {receipt.campaign_ref}
        </span>
      </p>
      {receipt.message && (
        <p className="break-words">
          {said(receipt)}
          {(receipt.status || receipt.error_code) && (
            <span className="text-muted"> ({[receipt.status, receipt.error_code].filter(Boolean).join(", ")})</span>
          )}
        </p>
      )}
      <p className="text-muted">
        {look.explain}. {dateTime(receipt.ts_ms, zone)}
        {receipt.attempts > 0 && `, attempt ${receipt.attempts}`}
        {receipt.platform_request_id && (
          <>
            , request <span className="font-mono text-xs break-all">{receipt.platform_request_id}</span>
          </>
        )}
      </p>
      {receipt.requests.length > 0 && (
        <details>
          <summary className="w-fit cursor-pointer text-accent underline underline-offset-2">What was sent</summary>
          <pre tabIndex={0} aria-label="Requests to the platform" className="mt-1 max-h-48 overflow-auto rounded border border-line bg-surface p-2 font-mono text-xs break-words whitespace-pre-wrap">
            {receipt.requests.map((each) => `${each.method ?? ""} ${each.url ?? ""}\n${JSON.stringify(each.body, null, 1) ?? ""}`).join("\n")}
          </pre>
        </details>
      )}
    </div>
  );
}

/** Changes that did not reach a platform, by platform, newest first. */
export function PlatformTrouble({ troubled, zone }: { troubled: PlatformReceipt[]; zone: string }) {
  if (troubled.length === 0) {
    return <p className="px-3 py-3 text-muted">Every change reached its platform, or needed none.</p>;
  }
  const platforms = [...new Set(troubled.map((receipt) => receipt.platform))].sort();
  return (
    <div className="divide-y divide-line">
      {platforms.map((platform) => {
        const own = troubled.filter((receipt) => receipt.platform === platform);
        return (
          <section key={platform} aria-label={platformName(platform)} className="px-3 py-2">
            <h3 className="font-semibold">
              {platformName(platform)} <span className="font-normal text-muted">{troubleCount(own)}</span>
            </h3>
            <ul className="mt-1 space-y-2">
              {own.slice(0, 20).map((receipt) => (
                <li key={receipt.receipt_id}>
                  <a href={campaignHref(receipt.campaign_id)} className="font-medium text-accent underline underline-offset-2">
                    {receipt.campaign_id}
                  </a>
                  : {words(receipt.kind).toLowerCase()}
                  <ReceiptStory receipt={receipt} zone={zone} />
                </li>
              ))}
            </ul>
            {own.length > 20 && <p className="text-muted">and {own.length - 20} more</p>}
          </section>
        );
      })}
    </div>
  );
}

/** "2 rejected, 1 retrying" */
export function troubleCount(troubled: PlatformReceipt[]): string {
  return (["rejected", "parked", "retrying"] as const)
    .map((state) => [troubled.filter((receipt) => receipt.state === state).length, LOOKS[state].text] as const)
    .filter(([size]) => size > 0)
    .map(([size, text]) => `${size} ${text}`)
    .join(", ");
}

/** For every page: what does not mend itself. */
export function TroubleBanner({ troubled }: { troubled: PlatformReceipt[] }) {
  const lasting = troubled.filter((receipt) => receipt.state !== "retrying");
  if (lasting.length === 0) return null;
  const platforms = [...new Set(lasting.map((receipt) => platformName(receipt.platform)))].join(", ");
  return (
    <Notice tone="warn">
      <strong>
        {lasting.length === 1 ? "A change" : `${lasting.length} changes`} did not reach {platforms}:
      </strong>{" "}
      {troubleCount(lasting)}.{" "}
      <a href="#/system" className="font-medium text-accent underline underline-offset-2">
        What happened
      </a>
    </Notice>
  );
}
