/** Campaigns as a table; only rows in sight are drawn. */

import { money, words } from "../lib/format";
import { bindingBudget, countersOf, measureNamed } from "../lib/measures";
import { campaignHref } from "../lib/route";
import { bidOf, type Order } from "../lib/table";
import type { Measure, Row } from "../live/protocol";
import { BudgetBar, PERIODS } from "./budget";
import { type ListProps, moveBetweenRows, updatedText, useInSight, type View } from "./list";
import { reasonText, SparkLine, StateBadge } from "./parts";
import { Value } from "./values";

const ROW_REM = 2.75;

export function CampaignTable({ ids, view, order, onOrder }: ListProps) {
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
            <Head by="state" title="State" order={order} onOrder={onOrder} left className="w-36 min-[90rem]:w-44" />
            <Head by="spend" title="Spend" order={order} onOrder={onOrder} className="w-24 xl:w-28" />
            <Head by="budget" title="Budget used" order={order} onOrder={onOrder} left className="w-44 min-[90rem]:w-52" />
            <Head by="bid" title="Bid, CPM" explain="Bid in force for a thousand impressions" order={order} onOrder={onOrder} className="hidden w-28 xl:table-cell" />
            {columns.map((measure) => (
              <Head
                key={measure.id}
                by={measure.id}
                title={measure.title}
                explain={measure.explain}
                order={order}
                onOrder={onOrder}
                className="w-18 min-[90rem]:w-20"
              />
            ))}
            <th scope="col" className="hidden w-32 border-b border-line px-3 text-left font-medium text-muted xl:table-cell">
              Spend, 10 min
            </th>
            <Head by="updated" title="Updated" order={order} onOrder={onOrder} className="hidden w-20 xl:table-cell" />
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
  const arrow = sorted && (
    <span aria-hidden="true" className="mx-1 text-xs">
      {order.down ? "↓" : "↑"}
    </span>
  );
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
        {/* On the side where it does not move the title off its numbers. */}
        {!left && arrow}
        {title}
        {left && arrow}
      </button>
    </th>
  );
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
        <a data-row href={campaignHref(row.id)} title={row.name} className="group block py-0.5 outline-offset-0">
          <span className="block truncate font-medium text-text underline-offset-2 group-hover:text-accent group-hover:underline">
            {row.name || row.id}
          </span>
          <span className="block truncate text-xs leading-4 text-muted">{row.id}</span>
        </a>
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
      <td className="hidden px-2 xl:table-cell" data-cell="bid">
        <BidCell row={row} />
      </td>
      {columns.map((measure) => (
        <td key={measure.id} className="px-2" data-cell={measure.id}>
          <Value measure={measure} counters={counters} config={config} currency={row.currency} />
        </td>
      ))}
      <td className="hidden px-3 xl:table-cell">
        <SparkLine values={state.sparks.get(row.id)?.spend ?? []} label="Spend in 10 s steps, last 10 minutes" />
      </td>
      <td className="hidden px-2 text-muted xl:table-cell">{updatedText(row, now)}</td>
    </tr>
  );
}

function BidCell({ row }: { row: Row }) {
  const bid = bidOf(row);
  if (bid === null) return <span className="text-muted">–</span>;
  const { bidding } = row;
  const held = bidding.bid_held ? "By hand" : "";
  const halted = bidding.halted === 1 ? "Halted" : "";
  return (
    <>
      {money(bid, row.currency)}
      <span className={`block truncate text-xs leading-4 ${halted ? "font-medium text-bad" : held ? "font-medium text-warn" : "text-muted"}`}>
        {halted || held || words(String(bidding.strategy))}
      </span>
    </>
  );
}
