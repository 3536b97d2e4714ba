/** How the machinery is doing: dataflow, store, dead letters, this connection. */

import type { ReactNode } from "react";
import { age, bytes, clock, count, dateTime, HERE, zoneName } from "../lib/format";
import type { FlowStatus, Verification } from "../live/protocol";
import { useAttention } from "../ui/attention";
import { DeadLettersCard } from "../ui/dead-letters";
import { useLive, useNow } from "../ui/live";
import { Card, Notice } from "../ui/parts";
import { ProcessesCard } from "../ui/processes";
import { PlatformTrouble } from "../ui/receipts";
import { Tile } from "../ui/values";

/** A worker that said nothing for so long is not working. */
export const FLOW_SILENT_MS = 10_000;

export function SystemPage() {
  const live = useLive();
  const { state } = live;
  const { troubled } = useAttention();
  const now = useNow() + state.clockOffsetMs;
  const { flow, store, config } = state;
  const sum = (pick: (status: FlowStatus) => number) => flow.reduce((total, status) => total + pick(status), 0);
  return (
    <div className="space-y-3">
      <h1 className="sr-only">System</h1>
      <ProcessesCard />
      <Card title="Dataflow">
        {flow.length === 0 ? (
          <p className="px-3 py-6 text-muted">
            No dataflow has reported yet. Start it with <code className="font-mono text-text">penstock flow</code>.
          </p>
        ) : (
          <>
            <Tiles>
              <Tile label="Events per second" value={count(sum((s) => s.events_per_second))} />
              <Tile label="Lag, records" value={count(sum((s) => s.lag_records))} explain="Records in the log not yet read" />
              <Tile label="Lag, bytes" value={bytes(sum((s) => s.lag_bytes))} />
              <Tile
                label="Watermark behind clock"
                value={age(Math.max(0, now - Math.min(...flow.map((s) => s.watermark_ms))))}
                explain="Event time up to which all windows are complete, against the server's clock"
              />
              <Tile label="Dead letters" value={count(sum((s) => s.dead_letters))} explain="Refused events, with their reason" />
              <Tile label="Duplicates" value={count(sum((s) => s.duplicates))} explain="Events dropped because their id was seen" />
              <Tile label="Late" value={count(sum((s) => s.late))} explain="Events that came after their window had closed" />
              <Tile label="Epoch, longest" value={`${count(Math.max(...flow.map((s) => s.epoch_ms)))} ms`} />
            </Tiles>
            <Throughput />
            <Workers flow={flow} now={now} />
          </>
        )}
      </Card>
      <DeadLettersCard />
      <div className="grid items-start gap-3 md:grid-cols-2">
        <Card title="Store (ClickHouse)">
          {store === null ? (
            <p className="px-3 py-6 text-muted">
              The store has not reported. History stays in the log until <code className="font-mono text-text">penstock store</code> runs.
            </p>
          ) : (
            <div className="space-y-2 p-3">
              <Notice tone={store.state === "ok" ? "good" : store.state === "behind" ? "warn" : "bad"}>
                <strong>{{ ok: "Writing", behind: "Behind", down: "Down" }[store.state]}.</strong>{" "}
                {store.state === "ok"
                  ? "History is up to date."
                  : "Nothing is lost: the log keeps what is not written yet, and the store catches up."}
              </Notice>
              <Facts>
                <Fact name="Records that wait">{count(store.lag_records)}</Fact>
                {store.reach_s != null && <Fact name="ClickHouse may be away for">{age(store.reach_s * 1_000)}</Fact>}
                <Fact name="Last report">{age(now - store.now_ms)}{now - store.now_ms >= 1_000 ? " ago" : ""}</Fact>
                {store.error && (
                  <Fact name="Error">
                    <span className="break-words text-bad">{store.error}</span>
                  </Fact>
                )}
              </Facts>
              <Verified last={store.verification ?? null} now={now} />
            </div>
          )}
        </Card>
        <Card title={`Ad platforms${troubled.length > 0 ? ` (${troubled.length} in trouble)` : ""}`}>
          <PlatformTrouble troubled={troubled} zone={HERE} />
        </Card>
        <Card title="This connection">
          <div className="p-3">
            <Facts>
              <Fact name="State">{live.connection.status === "live" ? "Connected" : "Not connected"}</Fact>
              <Fact name="Server version">{config?.server_version || "–"}</Fact>
              <Fact name="Session">
                <span className="font-mono text-xs">{config?.session ?? "–"}</span>
              </Fact>
              <Fact name="Frames received">{count(state.frames)}</Fact>
              <Fact name="Last change number">{count(state.seq)}</Fact>
              <Fact name="Server clock less yours">{count(state.clockOffsetMs)} ms</Fact>
              <Fact name="Campaigns">{count(state.rows.size)}</Fact>
            </Facts>
          </div>
        </Card>
        <Card title="Connection losses">
          {state.gaps.length === 0 ? (
            <p className="px-3 py-3 text-muted">None since this page was opened.</p>
          ) : (
            <ul className="divide-y divide-line">
              {[...state.gaps].reverse().map((gap) => (
                <li key={gap.fromMs} className="flex justify-between gap-3 px-3 py-1.5">
                  <span>{dateTime(gap.fromMs, HERE)}</span>
                  <span className="text-muted">{((gap.toMs - gap.fromMs) / 1_000).toFixed(1)} s without updates</span>
                </li>
              ))}
            </ul>
          )}
        </Card>
      </div>
    </div>
  );
}

/** The last comparison of the log with ClickHouse: what was missing there, and whether it is there again. */
function Verified({ last, now }: { last: Verification | null; now: number }) {
  if (last === null) {
    return <p className="text-muted">What is stored has not been compared with the log yet.</p>;
  }
  const left = last.missing - last.repaired;
  const found =
    last.missing === 0 ? "Nothing was missing." : left === 0 ? "What was missing is written again." : `${count(left)} still missing: run penstock doctor --verify.`;
  return (
    <section aria-label="Last verification" className="space-y-1 border-t border-line pt-2">
      <Notice tone={left > 0 ? "bad" : last.missing > 0 ? "warn" : "good"}>
        <strong>Compared with the log.</strong> {found}
      </Notice>
      <Facts>
        <Fact name="Compared">
          {age(Math.max(0, now - last.at_ms))}{now - last.at_ms >= 1_000 ? " ago" : ""} by {last.by}
        </Fact>
        <Fact name="Events of">
          {last.from_ms === 0 ? "–" : `${dateTime(last.from_ms, HERE)} to ${dateTime(last.to_ms, HERE)}`}
        </Fact>
        <Fact name="Events compared">{count(last.events)}</Fact>
        <Fact name="Other rows compared">{count(last.rows)}</Fact>
        <Fact name="Missing">{count(last.missing)}</Fact>
        <Fact name="Written again">{count(last.repaired)}</Fact>
      </Facts>
    </section>
  );
}

function Tiles({ children }: { children: ReactNode }) {
  return <dl className="grid grid-cols-2 gap-px bg-line sm:grid-cols-4 xl:grid-cols-8">{children}</dl>;
}

function Facts({ children }: { children: ReactNode }) {
  return <dl className="space-y-0.5">{children}</dl>;
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="flex justify-between gap-3">
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 text-right">{children}</dd>
    </div>
  );
}

function Throughput() {
  const { state } = useLive();
  const history = state.flowHistory;
  const first = history[0];
  if (!first || history.length < 2) return null;
  const most = Math.max(1, ...history.map(([, rate]) => rate));
  const path = history
    .map(([, rate], at) => `${((at * 600) / (history.length - 1)).toFixed(1)},${(58 - (54 * rate) / most).toFixed(1)}`)
    .join(" ");
  const label = `Events per second since ${clock(first[0], HERE)}, at most ${count(most)}`;
  return (
    <figure className="border-b border-line px-3 py-2">
      <svg viewBox="0 0 600 60" preserveAspectRatio="none" className="h-14 w-full" role="img" aria-label={label}>
        <polygon points={`0,60 ${path} 600,60`} className="fill-accent-soft" />
        <polyline points={path} className="fill-none stroke-accent" strokeWidth="1.5" vectorEffect="non-scaling-stroke" />
      </svg>
      <figcaption className="text-xs text-muted">{label}</figcaption>
    </figure>
  );
}

function Workers({ flow, now }: { flow: FlowStatus[]; now: number }) {
  const head = ["Worker", "Events/s", "Lag, records", "Lag, bytes", `Watermark (${zoneName(now, HERE)})`, "Dead letters", "Duplicates", "Late", "Epoch", "Reported"];
  return (
    <div tabIndex={0} role="region" aria-label="Workers of the dataflow" className="overflow-x-auto">
      <table className="w-full text-right whitespace-nowrap">
        <thead className="bg-raised text-muted">
          <tr>
            {head.map((title, at) => (
              <th key={title} scope="col" className={`px-3 py-1 font-medium ${at === 0 ? "text-left" : ""}`}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {flow.map((status) => (
            <tr key={status.worker} className="border-t border-line">
              <th scope="row" className="px-3 py-1 text-left font-normal">
                {status.worker}
              </th>
              <td className="px-3">{count(status.events_per_second)}</td>
              <td className="px-3">{count(status.lag_records)}</td>
              <td className="px-3">{bytes(status.lag_bytes)}</td>
              <td className="px-3" title={dateTime(status.watermark_ms, HERE)}>{clock(status.watermark_ms, HERE)}</td>
              <td className="px-3">{count(status.dead_letters)}</td>
              <td className="px-3">{count(status.duplicates)}</td>
              <td className="px-3">{count(status.late)}</td>
              <td className="px-3">{count(status.epoch_ms)} ms</td>
              <td className={`px-3 ${now - status.now_ms > FLOW_SILENT_MS ? "font-semibold text-bad" : ""}`}>
                {age(now - status.now_ms)}
                {now - status.now_ms > FLOW_SILENT_MS ? ", silent" : ""}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
