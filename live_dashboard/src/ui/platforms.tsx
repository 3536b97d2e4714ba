/** Where a campaign lives on ad platforms, and what became of the newest change of each kind there. */

import { dateTime, platformName, words } from "../lib/format";
import type { PlatformLink, PlatformReceipt } from "../lib/records";
import { Card } from "./parts";
import { ReceiptBadge, said } from "./receipts";

export function PlatformsCard({ links, receipts, zone }: { links: PlatformLink[]; receipts: PlatformReceipt[]; zone: string }) {
  if (links.length === 0) return null;
  return (
    <Card title="Ad platforms">
      <ul className="divide-y divide-line" aria-label="Ad platforms">
        {links.map((link) => {
          const own = receipts.filter(
            (receipt) =>
              receipt.platform === link.platform && receipt.account_id === link.account_id && receipt.campaign_ref === link.campaign_ref,
          );
          const newest = new Map<string, PlatformReceipt>();
          for (const receipt of own) if (!newest.has(receipt.kind)) newest.set(receipt.kind, receipt);
          return (
            <li key={`${link.platform}/${link.account_id}/${link.campaign_ref}`} className="grid gap-x-4 gap-y-1 px-3 py-2 sm:grid-cols-[16rem_minmax(0,1fr)]">
              <div className="min-w-0">
                <span className="font-semibold">{platformName(link.platform)}</span>
                <span className="block text-xs leading-4 break-all text-muted">
                  account {link.account_id}, campaign {link.campaign_ref}
                </span>
              </div>
              {newest.size === 0 ? (
                <p className="text-muted">No change was sent yet.</p>
              ) : (
                <ul className="flex min-w-0 flex-wrap gap-x-5 gap-y-1">
                  {[...newest.values()].map((receipt) => (
                    <li key={receipt.kind} className="min-w-0">
                      {words(receipt.kind)} <ReceiptBadge receipt={receipt} />
                      <span className="block text-xs leading-4 text-muted">{dateTime(receipt.ts_ms, zone)}</span>
                      {receipt.message && receipt.state !== "applied" && <span className="block break-words">{said(receipt)}</span>}
                    </li>
                  ))}
                </ul>
              )}
            </li>
          );
        })}
      </ul>
    </Card>
  );
}
