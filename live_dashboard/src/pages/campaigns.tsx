/** All campaigns, live: table on a desk, cards on a phone. */

import { useEffect, useMemo, useState } from "react";
import { count } from "../lib/format";
import { measureNamed } from "../lib/measures";
import { type Filter, isShown, type Order, orderedIds, STATES, totals } from "../lib/table";
import type { LiveState } from "../live/state";
import { CampaignCards } from "../ui/campaign-cards";
import { CampaignTable } from "../ui/campaign-table";
import { FirstEvent } from "../ui/first-event";
import type { View } from "../ui/list";
import { useLive, useNarrow, useNow, useRemembered } from "../ui/live";
import { Button, Choice } from "../ui/parts";
import { Value } from "../ui/values";

/** Rows move at most this often, so that one can be read and clicked. */
const REORDER_MS = 2_000;

export function CampaignsPage() {
  const live = useLive();
  const { state } = live;
  const now = useNow();
  const narrow = useNarrow();
  const [span, setSpan] = useRemembered("campaigns.span", "today");
  const [order, setOrder] = useRemembered<Order>("campaigns.order", { by: "spend", down: true });
  const [text, setText] = useRemembered("campaigns.text", "");
  const [states, setStates] = useRemembered<ReadonlySet<string>>("campaigns.states", new Set());
  const { config } = state;
  const filter = useMemo<Filter>(() => ({ text, states }), [text, states]);
  const beat = useBeat(REORDER_MS, live.paused);
  const size = state.rows.size;
  // The rows change in place: the beat and their number say when to look at them again.
  const ids = useMemo(
    () => (config ? orderedIds(state.rows.values(), filter, order, span, config) : []),
    [state, config, filter, order, span, beat, size],
  );

  if (!config || !state.ready) return <Loading />;
  if (size === 0) return <FirstEvent />;
  const view: View = { state, config, span, now: now + state.clockOffsetMs };
  return (
    <>
      <h1 className="sr-only">Campaigns</h1>
      <Totals view={view} filter={filter} />
      <div className="my-2 flex flex-wrap items-center gap-2">
        <input
          type="search"
          value={text}
          onChange={(event) => setText(event.target.value)}
          placeholder="Filter by name or id"
          aria-label="Filter campaigns by name or id"
          className="min-h-8 w-full rounded border border-edge bg-surface px-2 placeholder:text-muted sm:w-56"
        />
        <StateFilter state={state} chosen={states} onChange={setStates} />
        <div className="flex-1 max-sm:hidden" />
        <Choice label="Numbers over" value={span} options={config.spans} onChange={setSpan} />
        <a href="#/new" className="inline-flex min-h-8 items-center rounded border border-edge bg-surface px-3 font-medium whitespace-nowrap hover:bg-raised">
          New campaign
        </a>
      </div>
      <p className="sr-only" aria-live="polite">
        {ids.length === size ? "" : `${ids.length} of ${size} campaigns shown`}
      </p>
      {ids.length === 0 ? (
        <div className="rounded-md border border-line bg-surface px-4 py-10 text-center">
          <p>No campaign fits the filter.</p>
          <Button
            className="mt-3"
            onClick={() => {
              setText("");
              setStates(new Set());
            }}
          >
            Show all {count(size)}
          </Button>
        </div>
      ) : narrow ? (
        <CampaignCards ids={ids} view={view} order={order} onOrder={setOrder} />
      ) : (
        <CampaignTable ids={ids} view={view} order={order} onOrder={setOrder} />
      )}
    </>
  );
}

function useBeat(everyMs: number, stopped: boolean): number {
  const [beat, setBeat] = useState(0);
  useEffect(() => {
    if (stopped) return;
    const timer = setInterval(() => setBeat((last) => last + 1), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, stopped]);
  return beat;
}

function Loading() {
  return (
    <div role="status" className="space-y-2 py-2">
      <span className="sr-only">Loading campaigns</span>
      {Array.from({ length: 9 }, (_, at) => (
        <div key={at} className="h-9 animate-pulse rounded bg-line" style={{ opacity: 1 - at * 0.1 }} />
      ))}
    </div>
  );
}

function StateFilter({
  state,
  chosen,
  onChange,
}: {
  state: LiveState;
  chosen: ReadonlySet<string>;
  onChange: (states: ReadonlySet<string>) => void;
}) {
  const counts = new Map<string, number>();
  for (const row of state.rows.values()) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
  const toggle = (name: string) => {
    const next = new Set(chosen);
    if (!next.delete(name)) next.add(name);
    onChange(next);
  };
  return (
    <div role="group" aria-label="Filter by state" className="flex flex-wrap gap-1">
      {STATES.filter((name) => counts.has(name) || chosen.has(name)).map((name) => (
        <button
          key={name}
          type="button"
          aria-pressed={chosen.has(name)}
          onClick={() => toggle(name)}
          className={`min-h-8 rounded border px-2 font-medium ${
            chosen.has(name)
              ? "border-accent bg-accent-soft text-accent underline decoration-2 underline-offset-4"
              : "border-edge bg-surface text-muted hover:text-text"
          }`}
        >
          {name.charAt(0).toUpperCase() + name.slice(1)} {count(counts.get(name) ?? 0)}
        </button>
      ))}
    </div>
  );
}

function Totals({ view, filter }: { view: View; filter: Filter }) {
  const { state, config, span } = view;
  const shown = [...state.rows.values()].filter((row) => isShown(row, filter));
  const measures = ["spend", "impressions", "clicks", "conversions", ...config.columns]
    .map((id) => measureNamed(config, id))
    .filter((measure) => measure !== undefined);
  const title = config.spans.find((each) => each.id === span)?.title ?? span;
  return (
    <div className="overflow-hidden rounded-md border border-line bg-surface">
      <table className="w-full text-right" aria-label={`Totals for each currency, ${title}`}>
        <thead>
          <tr className="text-xs text-muted">
            <th scope="col" className="px-3 pt-1.5 text-left font-normal">
              Total, {title.toLowerCase()}
            </th>
            {measures.map((measure) => (
              <th key={measure.id} scope="col" title={measure.explain} className={`px-2 pt-1.5 font-normal ${narrowColumn(measure.id)}`}>
                {measure.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {totals(shown, span, config).map((total) => (
            <tr key={total.currency} className="text-sm font-semibold">
              <th scope="row" className="px-3 py-1 text-left font-semibold whitespace-nowrap">
                {total.currency || "No currency"}{" "}
                <span className="font-normal text-muted">
                  {count(total.campaigns)}
                  <span className="max-sm:sr-only"> campaign{total.campaigns === 1 ? "" : "s"}</span>
                </span>
              </th>
              {measures.map((measure) => (
                <td key={measure.id} className={`px-2 py-1 ${narrowColumn(measure.id)}`}>
                  <Value measure={measure} counters={total.counters} config={config} currency={total.currency} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What a phone has no room for; the campaigns themselves have it all. */
function narrowColumn(id: string): string {
  if (id === "spend" || id === "roas") return "";
  return id === "cpa" ? "max-[22rem]:hidden" : id === "ctr" ? "max-sm:hidden" : "max-md:hidden";
}
