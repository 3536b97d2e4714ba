/** What the page says before the first event: how to send it. */

import { storedKey } from "../lib/api";
import { Command, Empty } from "./parts";

export function firstEvent(origin: string, nowMs: number, withKey: boolean): string {
  const event = { event_id: `first-${nowMs}`, type: "impression", ts: nowMs, campaign_id: "my-first-campaign", cost_micros: 2500 };
  const key = withKey ? `  -H 'Authorization: Bearer '"$PENSTOCK_KEY" \\\n` : "";
  return `curl -sS ${origin}/api/v1/events \\\n${key}  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(event)}'`;
}

export function FirstEvent() {
  return (
    <Empty title="No events yet">
      <p>Send the first one from a terminal; the campaign appears here in well under a second.</p>
      <Command text={firstEvent(location.origin, Date.now(), storedKey() !== "")} />
      <p>
        A budget makes it stop in time:{" "}
        <a href="#/new" className="font-medium text-accent underline underline-offset-2">create the campaign first</a>, or{" "}
        <code className="font-mono text-text">penstock campaign put FILE.json</code>. To watch a
        whole market instead, start <code className="font-mono text-text">penstock up --demo</code>.
      </p>
    </Empty>
  );
}
