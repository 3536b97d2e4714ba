/** All campaigns, live: table on a desk, cards on a phone. */

import { type KeyboardEvent, type ReactNode, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { age, count, inUnit } from "../lib/format";
import { bindingBudget, countersOf, measureNamed, valueOf, whyNone } from "../lib/measures";
import { campaignHref } from "../lib/route";
import { type Filter, isShown, type Order, orderedIds, STATES, totals } from "../lib/table";
import type { Configuration, Measure, Row } from "../live/protocol";
import type { LiveState } from "../live/state";
import { BudgetBar, PERIODS } from "../ui/budget";
import { FirstEvent } from "../ui/first-event";
import { useLive, useNarrow, useNow, useRemembered } from "../ui/live";
import { Button, Choice, reasonText, SparkLine, StateBadge, Undefined } from "../ui/parts";

/** Rows move at most this often, so that one can be read and clicked. */
const REORDER_MS = 2_000;
const ROW_REM = 2.75;
const CARD_REM = 11.25;

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
  // biome-ignore lint: the beat and the number of rows say when to look at the rows again.
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
        <Cards ids={ids} view={view} order={order} onOrder={setOrder} />
      ) : (
        <Table ids={ids} view={view} order={order} onOrder={setOrder} />
      )}
    </>
  );
}

interface View {
  state: LiveState;
  config: Configuration;
  span: string;
  /** The server's clock. */
  now: number;
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
    <section aria-label={`Totals, ${title}`} className="space-y-2">
      {totals(shown, span, config).map((total) => (
        <dl
          key={total.currency}
          className="grid grid-cols-3 gap-px overflow-hidden rounded-md border border-line bg-line lg:grid-cols-9"
        >
          <Tile label={`${total.currency}, ${title.toLowerCase()}`} value={`${count(total.campaigns)} campaign${total.campaigns === 1 ? "" : "s"}`} />
          {measures.map((measure) => (
            <Tile
              key={measure.id}
              label={measure.title}
              explain={measure.explain}
              value={<Value measure={measure} counters={total.counters} config={config} currency={total.currency} />}
            />
          ))}
        </dl>
      ))}
    </section>
  );
}

export function Tile({ label, value, explain }: { label: string; value: ReactNode; explain?: string }) {
  return (
    <div className="min-w-0 bg-surface px-2 py-1.5 sm:px-3 sm:py-2" title={explain}>
      <dt className="truncate text-xs text-muted">{label}</dt>
      <dd className="truncate text-sm leading-5 font-semibold sm:text-base sm:leading-6">{value}</dd>
    </div>
  );
}

export function Value({
  measure,
  counters,
  config,
  currency,
}: {
  measure: Measure;
  counters: number[] | undefined;
  config: Configuration;
  currency: string;
}) {
  const value = valueOf(measure, counters, config.counters);
  return value === null ? <Undefined why={whyNone(measure)} /> : inUnit(value, measure.unit, currency);
}

/** Which of `total` items of `itemRem` are in sight or near it; only those are drawn. */
function useInSight(total: number, itemRem: number) {
  const place = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: 40, px: 44 });
  useLayoutEffect(() => {
    const look = () => {
      const at = place.current;
      if (!at) return;
      const px = itemRem * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const above = -at.getBoundingClientRect().top;
      // In steps of eight, so that scrolling does not draw at every pixel.
      const first = Math.max(0, Math.floor(above / px / 8) * 8 - 8);
      const last = Math.min(total, first + Math.ceil(innerHeight / px) + 24);
      setRange((old) => (old.first === first && old.last === last && old.px === px ? old : { first, last, px }));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [total, itemRem]);
  return { place, ...range };
}

/** Arrow keys go from campaign to campaign. */
function moveBetweenRows(event: KeyboardEvent<HTMLElement>): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0 || !(event.target as HTMLElement).matches("a[data-row]")) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>("a[data-row]")];
  const next = links[links.indexOf(event.target as HTMLAnchorElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

interface ListProps {
  ids: string[];
  view: View;
  order: Order;
  onOrder: (order: Order) => void;
}

function Table({ ids, view, order, onOrder }: ListProps) {
  const { config } = view;
  const { place, first, last, px } = useInSight(ids.length, ROW_REM);
  const columns = config.columns.map((id) => measureNamed(config, id)).filter((measure) => measure !== undefined);
  return (
    <div ref={place} className="overflow-x-clip rounded-md border border-line bg-surface">
      <table
        className="w-full table-fixed border-collapse text-right"
        aria-label="Campaigns"
        aria-rowcount={ids.length + 1}
        onKeyDown={moveBetweenRows}
      >
        <thead className="bg-raised tall:sticky tall:top-(--header) tall:z-10">
          <tr aria-rowindex={1}>
            <Head by="name" title="Campaign" order={order} onOrder={onOrder} left first />
            <Head by="state" title="State" order={order} onOrder={onOrder} left className="w-44" />
            <Head by="spend" title="Spend" order={order} onOrder={onOrder} className="w-28" />
            <Head by="budget" title="Budget used" order={order} onOrder={onOrder} left className="w-52" />
            {columns.map((measure) => (
              <Head
                key={measure.id}
                by={measure.id}
                title={measure.title}
                explain={measure.explain}
                order={order}
                onOrder={onOrder}
                className="w-20"
              />
            ))}
            <th scope="col" className="hidden w-36 border-b border-line px-3 text-left font-medium text-muted xl:table-cell">
              Spend, 10 min
            </th>
            <Head by="updated" title="Updated" order={order} onOrder={onOrder} className="hidden w-24 lg:table-cell" />
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true" style={{ height: first * px }} />}
          {ids.slice(first, last).map((id, at) => {
            const row = view.state.rows.get(id);
            return row ? (
              <TableRow key={id} row={row} index={first + at + 2} view={view} columns={columns} />
            ) : null;
          })}
          {last < ids.length && <tr aria-hidden="true" style={{ height: (ids.length - last) * px }} />}
        </tbody>
      </table>
    </div>
  );
}

function Head({
  by,
  title,
  explain,
  order,
  onOrder,
  left,
  first,
  className = "",
}: {
  by: string;
  title: string;
  explain?: string;
  order: Order;
  onOrder: (order: Order) => void;
  left?: boolean;
  first?: boolean;
  className?: string;
}) {
  const sorted = order.by === by;
  const sort = sorted ? (order.down ? "descending" : "ascending") : undefined;
  return (
    <th
      scope="col"
      aria-sort={sort}
      className={`border-b border-line p-0 font-medium ${left ? "text-left" : "text-right"} ${className}`}
    >
      <button
        type="button"
        title={explain}
        onClick={() => onOrder({ by, down: sorted ? !order.down : by !== "name" && by !== "state" })}
        className={`min-h-9 w-full px-2 whitespace-nowrap -outline-offset-2 hover:text-text ${first ? "pl-3" : ""} ${left ? "text-left" : "text-right"} ${sorted ? "text-text" : "text-muted"}`}
      >
        {title}
        <span aria-hidden="true" className="ml-1 inline-block w-2 text-xs">
          {sorted ? (order.down ? "↓" : "↑") : ""}
        </span>
      </button>
    </th>
  );
}

function updatedText(row: Row, now: number): string {
  return row.event_ms ? age(now - row.event_ms) : "no events";
}

function TableRow({ row, index, view, columns }: { row: Row; index: number; view: View; columns: Measure[] }) {
  const { state, config, span, now } = view;
  const counters = countersOf(row, span);
  const budget = bindingBudget(row);
  const spend = measureNamed(config, "spend");
  const reason = reasonText(row.state, row.reason);
  return (
    <tr aria-rowindex={index} data-campaign={row.id} className="h-11 border-b border-line last:border-0 hover:bg-raised">
      <th scope="row" className="px-2 pl-3 text-left font-normal">
        <a
          data-row
          href={campaignHref(row.id)}
          title={row.name}
          className="block truncate font-medium text-text underline-offset-2 hover:text-accent hover:underline"
        >
          {row.name || row.id}
        </a>
        <span className="block truncate text-xs leading-4 text-muted">{row.id}</span>
      </th>
      <td className="px-2 text-left">
        <StateBadge state={row.state} />
        {reason && <span className="block truncate text-xs leading-4 text-muted" title={reason}>{reason}</span>}
      </td>
      <td className="px-2 font-medium" data-cell="spend">
        {spend && <Value measure={spend} counters={counters} config={config} currency={row.currency} />}
      </td>
      <td className="px-2 text-left text-xs">
        {budget ? (
          <div title={`${PERIODS[budget.period]} budget`}>
            <span className="sr-only">{PERIODS[budget.period]} budget: </span>
            <BudgetBar budget={budget} currency={row.currency} brief />
          </div>
        ) : (
          <span className="text-muted">No budget</span>
        )}
      </td>
      {columns.map((measure) => (
        <td key={measure.id} className="px-2" data-cell={measure.id}>
          <Value measure={measure} counters={counters} config={config} currency={row.currency} />
        </td>
      ))}
      <td className="hidden px-3 xl:table-cell">
        <SparkLine values={state.sparks.get(row.id)?.spend ?? []} label="Spend in 10 s steps, last 10 minutes" />
      </td>
      <td className="hidden px-2 text-muted lg:table-cell">{updatedText(row, now)}</td>
    </tr>
  );
}

function Cards({ ids, view, order, onOrder }: ListProps) {
  const { config } = view;
  const { place, first, last, px } = useInSight(ids.length, CARD_REM);
  const columns = config.columns.map((id) => measureNamed(config, id)).filter((measure) => measure !== undefined);
  const sorts = [
    { id: "spend", title: "Spend" },
    { id: "budget", title: "Budget used" },
    { id: "name", title: "Name" },
    { id: "state", title: "State" },
    { id: "updated", title: "Updated" },
    ...columns,
  ];
  return (
    <>
      <div className="mb-2 flex items-center gap-2">
        <label className="flex min-w-0 flex-1 items-center gap-2 text-muted">
          Sort by
          <select
            value={order.by}
            onChange={(event) => onOrder({ by: event.target.value, down: event.target.value !== "name" })}
            className="min-h-8 min-w-0 flex-1 rounded border border-edge bg-surface px-2 text-text"
          >
            {sorts.map((sort) => (
              <option key={sort.id} value={sort.id}>
                {sort.title}
              </option>
            ))}
          </select>
        </label>
        <Button onClick={() => onOrder({ ...order, down: !order.down })}>{order.down ? "↓ Down" : "↑ Up"}</Button>
      </div>
      <div ref={place} onKeyDown={moveBetweenRows}>
        <div aria-hidden="true" style={{ height: first * px }} />
        <ul aria-label="Campaigns">
          {ids.slice(first, last).map((id) => {
            const row = view.state.rows.get(id);
            return row ? <CampaignCard key={id} row={row} view={view} columns={columns} of={ids.length} /> : null;
          })}
        </ul>
        <div aria-hidden="true" style={{ height: (ids.length - last) * px }} />
      </div>
    </>
  );
}

function CampaignCard({ row, view, columns, of }: { row: Row; view: View; columns: Measure[]; of: number }) {
  const { state, config, span, now } = view;
  const counters = countersOf(row, span);
  const budget = bindingBudget(row);
  const spend = measureNamed(config, "spend");
  return (
    <li data-campaign={row.id} aria-setsize={of} className="h-45 pb-2">
      <div className="flex h-full flex-col justify-between overflow-hidden rounded-md border border-line bg-surface px-3 py-2">
        <div className="flex items-start justify-between gap-2">
          <a data-row href={campaignHref(row.id)} className="min-w-0 truncate text-sm font-semibold underline-offset-2 hover:underline">
            {row.name || row.id}
          </a>
          <StateBadge state={row.state} />
        </div>
        <div className="flex items-baseline justify-between gap-2 text-xs text-muted">
          <span className="truncate">{reasonText(row.state, row.reason) || row.id}</span>
          <span className="whitespace-nowrap">{updatedText(row, now)}</span>
        </div>
        <div className="flex items-center gap-3">
          <div className="text-base font-semibold" data-cell="spend">
            {spend && <Value measure={spend} counters={counters} config={config} currency={row.currency} />}
          </div>
          <div className="min-w-0 flex-1">
            <SparkLine values={state.sparks.get(row.id)?.spend ?? []} label="Spend in 10 s steps, last 10 minutes" />
          </div>
        </div>
        <div className="text-xs">
          {budget ? <BudgetBar budget={budget} currency={row.currency} brief /> : <span className="text-muted">No budget</span>}
        </div>
        <dl className="grid grid-cols-4 gap-2">
          {columns.map((measure) => (
            <div key={measure.id} className="min-w-0">
              <dt className="text-xs leading-4 text-muted">{measure.title}</dt>
              <dd className="truncate" data-cell={measure.id}>
                <Value measure={measure} counters={counters} config={config} currency={row.currency} />
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </li>
  );
}
