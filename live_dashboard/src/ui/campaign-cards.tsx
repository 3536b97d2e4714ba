/** Campaigns as cards, for a phone or a large zoom. */

import { bindingBudget, countersOf, measureNamed } from "../lib/measures";
import { campaignHref } from "../lib/route";
import type { Measure, Row } from "../live/protocol";
import { BudgetBar } from "./budget";
import { type ListProps, moveBetweenRows, updatedText, useInSight, type View } from "./list";
import { Button, reasonText, SparkLine, StateBadge } from "./parts";
import { Value } from "./values";

const CARD_REM = 11.25;

export function CampaignCards({ ids, view, order, onOrder }: ListProps) {
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
