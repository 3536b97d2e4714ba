/** What was corrected after it was counted: sums as reported and as they are now, and each correction with its reason. */

import { useCallback, useState } from "react";
import { api } from "../lib/api";
import { changesIn, CORRECTED, signed } from "../lib/corrections";
import { count, dateTime, day, inUnit, words } from "../lib/format";
import type { Correction, CorrectionTotals } from "../lib/records";
import { Button, Card, Notice } from "./parts";
import { usePolled } from "./polled";

const FEW = 10;
const MANY = 200;
/** They come seconds after they were sent, and rarely. */
const POLL_MS = 15_000;

export function CorrectionsCard({ id, currency, zone }: { id: string; currency: string; zone: string }) {
  const [limit, setLimit] = useState(FEW);
  const load = useCallback(
    (signal: AbortSignal) => Promise.all([api.correctionTotals(id, signal), api.corrections(id, limit, signal)]),
    [id, limit],
  );
  const { value, error } = usePolled(load, POLL_MS);
  const [totals, page] = value ?? [null, null];
  const list = page?.corrections ?? [];
  return (
    <Card title={`Corrections${totals ? ` (${count(totals.corrections)})` : ""}`}>
      {error && (
        <div className="p-3">
          <Notice tone="warn">Corrections cannot be read: {error}</Notice>
        </div>
      )}
      {!value && !error && <p role="status" className="px-3 py-3 text-muted">Loading corrections…</p>}
      {page && list.length === 0 && <p className="px-3 py-3 text-muted">Nothing was corrected: the numbers stand as they were reported.</p>}
      {totals && list.length > 0 && <Totals totals={totals} currency={currency} zone={zone} />}
      {list.length > 0 && (
        <ul aria-label="Corrections" className="divide-y divide-line border-t border-line">
          {list.map((correction) => (
            <Item key={correction.correction_id} correction={correction} currency={currency} zone={zone} />
          ))}
        </ul>
      )}
      {page?.next_before != null && (
        <div className="border-t border-line p-2 text-center">
          {limit < MANY ? (
            <Button onClick={() => setLimit(MANY)}>Show more</Button>
          ) : (
            <p className="text-muted">
              The newest {count(MANY)}; all of them by <code className="font-mono text-text">penstock corrections list</code>
            </p>
          )}
        </div>
      )}
    </Card>
  );
}

function Totals({ totals, currency, zone }: { totals: CorrectionTotals; currency: string; zone: string }) {
  const rows = CORRECTED.filter(({ field }) => field === "spend_micros" || totals.difference[field] !== 0);
  return (
    // Amounts of millions are wider than a phone.
    <div role="region" aria-label="Reported, difference and corrected" tabIndex={0} className="overflow-x-auto -outline-offset-2">
      <table className="w-full max-w-3xl text-right max-sm:text-xs">
        <caption className="px-3 pt-2 text-left text-xs leading-4 text-muted">
          All days from {day(totals.from_ms, zone)} to {day(totals.to_ms - 1, zone)}
        </caption>
        <thead className="text-xs text-muted">
          <tr>
            <th scope="col" className="py-1 pl-3 text-left font-semibold">
              <span className="sr-only">Measure</span>
            </th>
            <th scope="col" className="px-1.5 sm:px-2 py-1 font-semibold">Reported</th>
            <th scope="col" className="px-1.5 sm:px-2 py-1 font-semibold">Difference</th>
            <th scope="col" className="py-1 pr-3 pl-1.5 font-semibold">Corrected</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ field, title, unit }) => (
            <tr key={field} className="border-t border-line" data-measure={field}>
              <th scope="row" className="py-1.5 pl-3 text-left font-semibold">{title}</th>
              <td className="px-1.5 sm:px-2 py-1.5">{inUnit(totals.reported[field], unit, currency)}</td>
              <td className="px-1.5 sm:px-2 py-1.5 font-semibold">{signed(totals.difference[field], unit, currency)}</td>
              <td className="py-1.5 pr-3 pl-1.5">{inUnit(totals.corrected[field], unit, currency)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Item({ correction, currency, zone }: { correction: Correction; currency: string; zone: string }) {
  const of = correction.grain === "day" ? day(correction.ts_ms, zone) : dateTime(correction.ts_ms, zone);
  return (
    <li className="grid gap-x-4 gap-y-0.5 px-3 py-1.5 sm:grid-cols-[13rem_minmax(0,1fr)]">
      <span className="text-muted">
        {dateTime(correction.applied_ms, zone)}
        <span className="block text-xs leading-4 break-words">by {correction.by || "unknown"}</span>
      </span>
      <span className="min-w-0">
        <span className="font-semibold">{words(correction.cause)}</span>
        {correction.refused && (
          <span className="ml-1.5 rounded bg-warn-soft px-1 text-xs text-warn" title="A total would have gone below zero">
            <span aria-hidden="true">✕ </span>without effect
          </span>
        )}
        <span className="block">
          {changesIn(correction, currency)} <span className="text-muted">of {of}</span>
        </span>
        {correction.note && <span className="block break-words text-muted">{correction.note}</span>}
      </span>
    </li>
  );
}
