/** Who changed what of a campaign, and the way back to a former definition. */

import { useEffect, useState } from "react";
import { api } from "../lib/api";
import { changesOf } from "../lib/changes";
import { dateTime } from "../lib/format";
import type { Change, StoredCampaign } from "../lib/records";
import { told } from "./actions";
import { Button, Card, Confirm, Outcome } from "./parts";

const FEW = 5;

export function ChangesCard({ stored, onReverted }: { stored: StoredCampaign; onReverted: () => void }) {
  const { campaign, version } = stored;
  const id = campaign.campaign_id;
  const [changes, setChanges] = useState<Change[] | null>(null);
  const [shown, setShown] = useState(FEW);
  const [asked, setAsked] = useState<Change | null>(null);
  const [done, setDone] = useState("");
  const [error, setError] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    api.changes(id, stop.signal).then(setChanges, (failure: unknown) => {
      if (!stop.signal.aborted) setError(told(failure));
    });
    return () => stop.abort();
  }, [id, version]);

  const revert = async (change: Change) => {
    setDone("");
    setError("");
    try {
      const saved = await api.revert(id, change.version);
      setDone(`Version ${change.version} is in force again, as version ${saved.version}.`);
      onReverted();
    } catch (failure) {
      setError(told(failure));
    }
  };
  const list = changes ?? [];
  return (
    <Card title={`Changes of the definition${changes ? ` (${changes.length})` : ""}`}>
      <Outcome padded done={done} error={error} />
      <ul aria-label="Changes of the definition" className="divide-y divide-line">
        {list.slice(0, shown).map((change) => (
          <li key={change.version} className="grid items-start gap-x-4 gap-y-1 px-3 py-1.5 sm:grid-cols-[13rem_minmax(0,1fr)_auto]">
            <span className="text-muted">
              <span className="font-semibold text-text">Version {change.version}</span> by {change.changed_by}
              <span className="block text-xs leading-4">{dateTime(change.changed_ms, campaign.time_zone)}</span>
            </span>
            <ul className="min-w-0 break-words">
              {change.before === null && <li>Created</li>}
              {changesOf(change.before, change.after).map((each) => (
                <li key={each.field}>
                  {each.field}: {each.before} → <strong className="font-semibold">{each.after}</strong>
                </li>
              ))}
            </ul>
            {change.version === version ? (
              <span className="text-muted">in force</span>
            ) : (
              <Button onClick={() => setAsked(change)}>Go back to version {change.version}</Button>
            )}
          </li>
        ))}
      </ul>
      {list.length > shown && (
        <div className="border-t border-line p-2 text-center">
          <Button onClick={() => setShown(shown + 50)}>Show more</Button>
        </div>
      )}
      <Confirm
        open={asked !== null}
        onClose={() => setAsked(null)}
        title={asked ? `Go back to version ${asked.version}?` : ""}
        description={asked ? backText(campaign, asked) : ""}
        action={asked ? `Go back to version ${asked.version}` : ""}
        onConfirm={() => (asked ? void revert(asked) : undefined)}
      />
    </Card>
  );
}

function backText(campaign: StoredCampaign["campaign"], change: Change): string {
  const list = changesOf(campaign, change.after).map((each) => `${each.field}: ${each.before} → ${each.after}`);
  return list.length > 0 ? `${list.join("; ")}.` : "That definition is the same as the one in force.";
}
