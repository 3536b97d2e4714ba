/** Every decision over all campaigns, newest first. */

import { useMemo, useState } from "react";
import { api } from "../lib/api";
import { clock, HERE, words, zoneName } from "../lib/format";
import type { Decision, Row } from "../live/protocol";
import { addDecisions } from "../live/state";
import { useAttention } from "../ui/attention";
import { DecisionList } from "../ui/decisions";
import { useLive } from "../ui/live";
import { Button, Card, Empty, Notice } from "../ui/parts";

const PAGE = 100;

export function DecisionsPage() {
  const { state } = useLive();
  const { waiting } = useAttention();
  const [kind, setKind] = useState("");
  const [text, setText] = useState("");
  const [limit, setLimit] = useState(PAGE);
  const [older, setOlder] = useState<{ busy: boolean; error: string; end: boolean }>({ busy: false, error: "", end: false });
  const { decisions } = state;
  const kinds = useMemo(() => [...new Set(decisions.map((decision) => decision.kind))].sort(), [decisions]);
  const shown = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return decisions.filter((decision) => {
      if (kind && decision.kind !== kind) return false;
      const name = state.rows.get(decision.campaign_id)?.name ?? "";
      return `${name} ${decision.campaign_id} ${decision.reason}`.toLowerCase().includes(wanted);
    });
  }, [decisions, kind, text, state]);

  const loadOlder = async () => {
    setOlder({ busy: true, error: "", end: false });
    try {
      const last = decisions.at(-1);
      const page = await api.decisions(null, last ? `${last.ts_ms}:${last.decision_id}` : null);
      addDecisions(state, page.decisions);
      setLimit(limit + page.decisions.length);
      setOlder({ busy: false, error: "", end: page.next_before === null });
    } catch (error) {
      setOlder({ busy: false, error: (error as Error).message, end: false });
    }
  };

  if (!state.ready) return <p role="status" className="py-10 text-center text-muted">Loading decisions…</p>;
  return (
    <>
      <h1 className="sr-only">Decisions</h1>
      <Waiting waiting={waiting} rows={state.rows} />
      {decisions.length === 0 ? (
        <Empty title="No decisions yet">
          <p>
            A decision is made when a budget is reached, a period begins, a bid changes or a person says so. Each one appears here
            with its reason and its numbers.
          </p>
        </Empty>
      ) : (
        <div className="space-y-2">
          <div className="flex flex-wrap gap-2">
            <input
              type="search"
              value={text}
              onChange={(event) => setText(event.target.value)}
              placeholder="Filter by campaign or reason"
              aria-label="Filter decisions by campaign or reason"
              className="min-h-8 w-full rounded border border-edge bg-surface px-2 placeholder:text-muted sm:w-64"
            />
            <select
              value={kind}
              onChange={(event) => setKind(event.target.value)}
              aria-label="Kind of decision"
              className="min-h-8 rounded border border-edge bg-surface px-2"
            >
              <option value="">All kinds</option>
              {kinds.map((each) => (
                <option key={each} value={each}>
                  {words(each)}
                </option>
              ))}
            </select>
          </div>
          {state.decisionsMissed && (
            <Notice tone="info">More decisions were made than this page was sent; load older ones to see them all.</Notice>
          )}
          <Card
            title={`Decisions (${shown.length})`}
            aside={<span className="text-muted">times in {HERE} ({zoneName(Date.now(), HERE)})</span>}
          >
            <Gaps />
            <DecisionList decisions={shown} rows={state.rows} withCampaign limit={limit} />
            {shown.length === 0 && <p className="px-3 py-6 text-muted">No decision fits the filter.</p>}
            <div className="flex flex-wrap items-center justify-center gap-3 border-t border-line p-2">
              {shown.length > limit ? (
                <Button onClick={() => setLimit(limit + PAGE)}>Show more</Button>
              ) : older.end ? (
                <p className="text-muted">These are all.</p>
              ) : (
                <Button disabled={older.busy} onClick={loadOlder}>
                  {older.busy ? "Loading…" : "Load older"}
                </Button>
              )}
              {older.error && (
                <p role="alert" className="text-bad">
                  {older.error}
                </p>
              )}
            </div>
          </Card>
        </div>
      )}
    </>
  );
}

/** Recommendations that nobody has spoken of; what was just said stays in sight until the page is left. */
function Waiting({ waiting, rows }: { waiting: Decision[]; rows: Map<string, Row> }) {
  const [seen, setSeen] = useState<Decision[]>([]);
  const fresh = waiting.filter((decision) => !seen.some((each) => each.decision_id === decision.decision_id));
  if (fresh.length > 0) setSeen([...fresh, ...seen]);
  const { own } = useAttention();
  const open = new Set(waiting.map((decision) => decision.decision_id));
  const shown = seen.filter((decision) => open.has(decision.decision_id) || own.has(decision.decision_id));
  if (shown.length === 0) return null;
  return (
    <div className="mb-3">
      <Card title={`Waiting for you (${waiting.length})`}>
        <DecisionList label="Waiting for you" decisions={shown} rows={rows} withCampaign limit={PAGE} asking />
      </Card>
    </div>
  );
}

function Gaps() {
  const { state } = useLive();
  const gap = state.gaps.at(-1);
  if (!gap) return null;
  return (
    <p className="border-b border-line bg-warn-soft px-3 py-1.5">
      No connection from {clock(gap.fromMs, HERE)} to {clock(gap.toMs, HERE)}; what was decided then was sent afterwards.
    </p>
  );
}
