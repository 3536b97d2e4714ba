/** A campaign's definition as stored, and what is said before the dataflow has taken it up. */

import { useEffect, useState } from "react";
import { ApiError, api } from "../lib/api";
import type { StoredCampaign } from "../lib/records";
import { editHref } from "../lib/route";
import { Empty } from "./parts";

export interface StoredDefinition {
  stored: StoredCampaign | null;
  missing: boolean;
  error: string;
  again: () => void;
}

/** The definition in force, read again when the dataflow follows another version. */
export function useDefinition(id: string, version: number): StoredDefinition {
  const [found, setFound] = useState<Omit<StoredDefinition, "again">>({ stored: null, missing: false, error: "" });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    api.campaign(id, stop.signal).then(
      (stored) => setFound({ stored, missing: false, error: "" }),
      (failure: unknown) => {
        if (stop.signal.aborted) return;
        const missing = failure instanceof ApiError && failure.status === 404;
        setFound((last) => ({ stored: missing ? null : last.stored, missing, error: missing ? "" : String((failure as Error).message) }));
      },
    );
    return () => stop.abort();
  }, [id, version, turn]);
  return { ...found, again: () => setTurn((last) => last + 1) };
}

export function Pending({ id, definition }: { id: string; definition: StoredDefinition }) {
  const { stored, missing, error } = definition;
  if (!stored && !missing && !error) return <p role="status" className="py-10 text-center text-muted">Loading campaign…</p>;
  return (
    <Empty title={stored ? stored.campaign.name : `No campaign ${id}`}>
      {stored ? (
        <p role="status">
          The definition is stored in version {stored.version}. Its numbers appear here once the dataflow has taken it up, within a
          second or two; if they do not, see whether <code className="font-mono text-text">penstock flow</code> runs.
        </p>
      ) : (
        <p>{error || "Nothing is known of it: no events came, and no definition either."}</p>
      )}
      <p className="flex flex-wrap gap-x-4">
        <a href="#/" className="font-medium text-accent underline underline-offset-2">All campaigns</a>
        {stored && (
          <a href={editHref(id)} className="font-medium text-accent underline underline-offset-2">
            Edit {stored.campaign.name}
          </a>
        )}
      </p>
    </Empty>
  );
}
