/** One campaign: numbers, charts with decisions on them, budgets, and what a person may do. */

import { useCallback, useEffect, useMemo, useState } from "react";
import { ApiError, api } from "../lib/api";
import { age, dateTime, duration, money, zoneName } from "../lib/format";
import { countersOf, measureNamed } from "../lib/measures";
import { livePoints, rollingPoints, type SeriesPoint, storedPoints } from "../lib/series";
import type { PlatformReceipt } from "../lib/records";
import type { Configuration, Row } from "../live/protocol";
import { BiddingCard } from "../ui/bidding";
import { BudgetBar, PERIODS, utilisation } from "../ui/budget";
import { CampaignActions } from "../ui/actions";
import { ChangesCard } from "../ui/changes";
import { Chart } from "../ui/chart";
import { CorrectionsCard } from "../ui/corrections";
import { Pending, useDefinition } from "../ui/definition";
import { DecisionList } from "../ui/decisions";
import { useLive, useLiveQuietly, useNow, useRemembered } from "../ui/live";
import { Button, Card, Choice, Notice, reasonText, StateBadge } from "../ui/parts";
import { PlatformsCard } from "../ui/platforms";
import { usePolled } from "../ui/polled";
import { Tile, Value } from "../ui/values";

interface Range {
  id: string;
  title: string;
  explain: string;
  spanMs: number;
  /** Window asked of the api; null for what the hub has. */
  window: "1m" | "1h" | null;
}

const MINUTE = 60_000;
const RANGES: Range[] = [
  { id: "10m", title: "10 min", explain: "10 s windows, live", spanMs: 10 * MINUTE, window: null },
  { id: "1h", title: "1 h", explain: "10 s windows, live", spanMs: 60 * MINUTE, window: null },
  { id: "6h", title: "6 h", explain: "1 min windows from ClickHouse", spanMs: 360 * MINUTE, window: "1m" },
  { id: "24h", title: "24 h", explain: "1 min windows from ClickHouse", spanMs: 1_440 * MINUTE, window: "1m" },
  { id: "7d", title: "7 d", explain: "1 h windows from ClickHouse", spanMs: 10_080 * MINUTE, window: "1h" },
];
const STEP = { "1m": MINUTE, "1h": 60 * MINUTE };
const DECISIONS_SHOWN = 20;

export function CampaignPage({ id }: { id: string }) {
  const live = useLive();
  const { state } = live;
  const [span, setSpan] = useRemembered("campaign.span", "today");
  const [rangeId, setRange] = useRemembered("campaign.range", "10m");
  const [shown, setShown] = useState(DECISIONS_SHOWN);
  useEffect(() => live.watch(id), [live, id]);
  const row = state.rows.get(id);
  const definition = useDefinition(id, row?.version ?? 0);
  const load = useCallback((signal: AbortSignal) => api.receipts(id, signal), [id]);
  const { value: receipts } = usePolled(load);
  const receiptsOf = useMemo(() => byDecision(receipts ?? []), [receipts]);
  const range = RANGES.find((each) => each.id === rangeId) ?? (RANGES[0] as Range);
  const decisions = useMemo(
    () => state.decisions.filter((decision) => decision.campaign_id === id),
    [state.decisions, id],
  );

  if (!state.config || !state.ready) return <p role="status" className="py-10 text-center text-muted">Loading campaign…</p>;
  if (!row) return <Pending id={id} definition={definition} />;
  return (
    <div className="space-y-3">
      <Header row={row} now={state.clockOffsetMs} />
      <div className="grid gap-3 lg:grid-cols-[minmax(0,1fr)_21rem]">
        <Tiles row={row} config={state.config} span={span} onSpan={setSpan} />
        <Budgets row={row} />
      </div>
      <BiddingCard row={row} config={state.config} span={span} decisions={decisions} />
      <PlatformsCard links={definition.stored?.campaign.platforms ?? []} receipts={receipts ?? []} zone={row.zone} />
      <Charts key={id} row={row} range={range} onRange={setRange} />
      <Card title={`Decisions (${decisions.length})`}>
        {decisions.length === 0 ? (
          <p className="px-3 py-6 text-muted">No decision has been made about this campaign in the time kept here.</p>
        ) : (
          <DecisionList decisions={decisions} rows={state.rows} zone={row.zone} limit={shown} receipts={receiptsOf} />
        )}
        {decisions.length > shown && (
          <div className="border-t border-line p-2 text-center">
            <Button onClick={() => setShown(shown + 100)}>Show more</Button>
          </div>
        )}
      </Card>
      <CorrectionsCard key={`corrections/${id}`} id={id} currency={row.currency} zone={row.zone} />
      {definition.stored && <ChangesCard stored={definition.stored} onReverted={definition.again} />}
    </div>
  );
}

function byDecision(receipts: PlatformReceipt[]): Map<string, PlatformReceipt[]> {
  const found = new Map<string, PlatformReceipt[]>();
  for (const receipt of receipts) found.set(receipt.decision_id, [...(found.get(receipt.decision_id) ?? []), receipt]);
  return found;
}

function Header({ row, now: offsetMs }: { row: Row; now: number }) {
  const now = useNow() + offsetMs;
  const reason = reasonText(row.state, row.reason);
  return (
    <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-2">
      <div className="min-w-0">
        <nav aria-label="Breadcrumb" className="text-muted">
          <a href="#/" className="underline underline-offset-2 hover:text-text">Campaigns</a> <span aria-hidden="true">/</span> {row.id}
        </nav>
        <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
          <h1 className="text-lg leading-7 font-semibold break-words">{row.name || row.id}</h1>
          <span data-testid="state">
            <StateBadge state={row.state} />
          </span>
          {reason && <span className="text-muted">{reason}</span>}
        </div>
        <p className="text-muted">
          {row.currency || "currency unknown"} · {row.zone} ({zoneName(now, row.zone)}) · definition {row.version ? `version ${row.version}` : "missing"} ·{" "}
          {row.event_ms ? `newest event ${age(now - row.event_ms)}${now - row.event_ms >= 1_000 ? " ago" : ""}` : "no events yet"}
        </p>
      </div>
      <CampaignActions row={row} />
    </div>
  );
}

function Tiles({ row, config, span, onSpan }: { row: Row; config: Configuration; span: string; onSpan: (span: string) => void }) {
  const measures = config.tiles.map((id) => measureNamed(config, id)).filter((measure) => measure !== undefined);
  return (
    <Card title="Performance" aside={<Choice label="Numbers over" value={span} options={config.spans} onChange={onSpan} />}>
      <dl className="grid flex-1 auto-rows-fr grid-cols-3 gap-px overflow-hidden rounded-b-md bg-line">
        {measures.map((measure) => (
          <Tile
            key={measure.id}
            label={measure.title}
            explain={measure.explain}
            value={<Value measure={measure} counters={countersOf(row, span)} config={config} currency={row.currency} />}
          />
        ))}
        {Array.from({ length: (3 - (measures.length % 3)) % 3 }, (_, at) => (
          <div key={at} className="hidden bg-surface sm:block" />
        ))}
      </dl>
    </Card>
  );
}

function Budgets({ row }: { row: Row }) {
  return (
    <Card title="Budgets">
      <div className="space-y-3 px-3 py-2.5">
        {row.budgets.length === 0 && <p className="text-muted">No budget: nothing stops this campaign by itself.</p>}
        {row.budgets.map((budget) => (
          <div key={budget.period} data-budget={budget.period}>
            <h3 className="text-xs font-semibold text-muted">
              {PERIODS[budget.period]} {utilisation(budget) >= 1 && <span className="text-bad">· reached</span>}
            </h3>
            <BudgetBar budget={budget} currency={row.currency} />
            <p className="mt-1 text-xs leading-4 text-muted">
              <InFlight micros={budget.in_flight_micros} currency={row.currency} /> in flight
              {budget.period_end_ms !== null && <> · until {dateTime(budget.period_end_ms, row.zone)}</>}
            </p>
          </div>
        ))}
      </div>
    </Card>
  );
}

function InFlight({ micros, currency }: { micros: number; currency: string }) {
  return <span title="Won but not yet reported; a pause cannot call it back">{money(micros, currency)}</span>;
}

type History = { status: "loading" } | { status: "error"; message: string } | { status: "there"; points: SeriesPoint[]; atMs: number };

/** KPI windows from ClickHouse, read again once a minute while the range is shown. */
function useHistory(row: Row, range: Range, names: string[]): History {
  const live = useLiveQuietly();
  const [history, setHistory] = useState<History>({ status: "loading" });
  const { id } = row;
  useEffect(() => {
    const { window, spanMs } = range;
    if (window === null) return;
    setHistory({ status: "loading" });
    const stop = new AbortController();
    const load = async () => {
      const toMs = live.state.rows.get(id)?.watermark_ms ?? Date.now();
      try {
        const answer = await api.kpis(id, window, toMs - spanMs, toMs + 1, stop.signal);
        setHistory({ status: "there", points: storedPoints(answer.rows, names, STEP[window]), atMs: toMs });
      } catch (error) {
        if (!stop.signal.aborted) setHistory({ status: "error", message: error instanceof ApiError ? error.message : String(error) });
      }
    };
    void load();
    const timer = setInterval(() => void load(), MINUTE);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [live, id, range, names]);
  return history;
}

function Charts({ row, range, onRange }: { row: Row; range: Range; onRange: (id: string) => void }) {
  const { state } = useLiveQuietly();
  const config = state.config as Configuration;
  const history = useHistory(row, range, config.counters);
  const detail = state.details.get(row.id);
  const isLive = range.window === null;
  const untilMs = isLive ? row.watermark_ms : history.status === "there" ? history.atMs : row.watermark_ms;
  const step = config.point_ms;
  const toMs = isLive ? Math.floor(untilMs / step) * step + step : untilMs;
  const points = isLive
    ? livePoints(detail?.points ?? [], untilMs, range.spanMs, step)
    : history.status === "there"
      ? history.points
      : [];
  const windowMs = range.window === null ? step : STEP[range.window];
  // An hour has events enough for a rate of its own.
  const isFine = windowMs < STEP["1h"];
  const marks = state.decisions.filter((decision) => decision.campaign_id === row.id);
  const loading = isLive ? !detail : history.status === "loading";
  return (
    <section aria-label="Charts" className="space-y-2">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <p className="text-muted">
          {range.explain} · times in {row.zone} · dashed lines are decisions
        </p>
        <Choice label="Span of the charts" value={range.id} options={RANGES} onChange={onRange} />
      </div>
      {!isLive && history.status === "error" && (
        <Notice tone="warn">
          History is not available: {history.message} The ranges up to 1 h are live and do not need it.
        </Notice>
      )}
      {loading ? (
        <div role="status" className="h-40 animate-pulse rounded-md bg-line">
          <span className="sr-only">Loading charts</span>
        </div>
      ) : (
        <div className="grid gap-3 md:grid-cols-2 xl:grid-cols-3">
          {config.charts.map((definition) => (
            <Chart
              key={definition.id}
              definition={definition}
              config={config}
              currency={row.currency}
              zone={row.zone}
              points={isFine ? rollingPoints(points, definition.rolling_windows) : points}
              note={isFine && definition.rolling_windows > 1 ? `rolling ${duration(definition.rolling_windows * windowMs)}` : ""}
              decisions={marks}
              gaps={isLive ? state.gaps : []}
              fromMs={toMs - range.spanMs}
              toMs={toMs}
            />
          ))}
        </div>
      )}
    </section>
  );
}
