/** Every process: its state, its progress, and the reason when it is not well. */

import { api } from "../lib/api";
import { count } from "../lib/format";
import type { ProcessRow } from "../lib/records";
import { Card, Notice } from "./parts";
import { usePolled } from "./polled";

const POLL_MS = 2_000;
const FINE = new Set(["ok", "starting", "stopped"]);

export function ProcessesCard() {
  const { value, error } = usePolled(api.processes, POLL_MS);
  const rows = value?.processes ?? [];
  const troubled = rows.filter((row) => !FINE.has(row.state));
  return (
    <Card title={`Processes${troubled.length > 0 ? ` (${troubled.length} in trouble)` : ""}`}>
      {error && (
        <div className="p-3">
          <Notice tone="warn">Processes cannot be read: {error}</Notice>
        </div>
      )}
      {value && rows.length === 0 && <p className="px-3 py-3 text-muted">No process has reported yet.</p>}
      {rows.length > 0 && (
        <div tabIndex={0} role="region" aria-label="Processes" className="overflow-x-auto">
          <table className="w-full text-left">
            <thead className="bg-raised text-muted">
              <tr>
                {["Process", "Machine", "State", "Done", "Waiting", "Reported", "Reason"].map((title) => (
                  <th key={title} scope="col" className="px-3 py-1 font-medium whitespace-nowrap">
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <Process key={`${row.process}@${row.host}`} row={row} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Process({ row }: { row: ProcessRow }) {
  const isFine = FINE.has(row.state);
  return (
    <tr className="border-t border-line align-top">
      <th scope="row" className="px-3 py-1 font-normal whitespace-nowrap">
        {row.process}
      </th>
      <td className="px-3 py-1 break-all text-muted">{row.host}</td>
      <td className={`px-3 py-1 whitespace-nowrap ${isFine ? "" : "font-semibold text-bad"}`}>{row.state}</td>
      <td className="px-3 py-1">{count(row.progress)}</td>
      <td className="px-3 py-1">{count(row.waiting)}</td>
      <td className="px-3 py-1 whitespace-nowrap">{row.reported_s_ago < 2 ? "now" : `${count(row.reported_s_ago)} s ago`}</td>
      <td className="px-3 py-1 break-words">{row.reason}</td>
    </tr>
  );
}
