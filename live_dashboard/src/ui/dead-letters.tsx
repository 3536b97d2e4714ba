/** Refused events: how many for which reason, and the newest with their raw text and the way to mend them. */

import { useCallback, useState } from "react";
import { api } from "../lib/api";
import { bytes, count, dateTime, HERE, words } from "../lib/format";
import type { Letter } from "../lib/records";
import { Button, Card, Command, Notice } from "./parts";
import { usePolled } from "./polled";

const FEW = 20;
const MANY = 200;

export function DeadLettersCard() {
  const [reason, setReason] = useState("");
  const [limit, setLimit] = useState(FEW);
  const load = useCallback((signal: AbortSignal) => api.deadLetters(reason, limit, signal), [reason, limit]);
  const { value, error } = usePolled(load);
  const counts = Object.entries(value?.counts ?? {});
  const total = counts.reduce((sum, [, each]) => sum + each, 0);
  return (
    <Card title={`Dead letters (${count(total)})`} aside={value?.since_ms ? <span className="text-muted">since {dateTime(value.since_ms, HERE)}</span> : undefined}>
      {error && (
        <div className="p-3">
          <Notice tone="warn">Dead letters cannot be read: {error}</Notice>
        </div>
      )}
      {value && total === 0 && <p className="px-3 py-3 text-muted">No event has been refused.</p>}
      {total > 0 && (
        <div role="group" aria-label="Dead letters by reason" className="flex flex-wrap gap-1 border-b border-line px-3 py-2">
          {[["", total] as const, ...counts].map(([name, size]) => (
            <button
              key={name}
              type="button"
              aria-pressed={reason === name}
              onClick={() => {
                setReason(name);
                setLimit(FEW);
              }}
              className={`min-h-8 rounded border px-2 font-medium ${
                reason === name
                  ? "border-accent bg-accent-soft text-accent underline decoration-2 underline-offset-4"
                  : "border-edge bg-surface text-muted hover:text-text"
              }`}
            >
              {name === "" ? "All" : words(name)} {count(size)}
            </button>
          ))}
        </div>
      )}
      {value && value.letters.length > 0 && (
        <ul aria-label="Dead letters" className="divide-y divide-line">
          {value.letters.map((letter) => (
            <LetterItem key={letter.dead_letter_id} letter={letter} />
          ))}
        </ul>
      )}
      {value && value.letters.length === limit && limit < MANY && (
        <div className="border-t border-line p-2 text-center">
          <Button onClick={() => setLimit(MANY)}>Show more</Button>
        </div>
      )}
    </Card>
  );
}

function LetterItem({ letter }: { letter: Letter }) {
  const [open, setOpen] = useState(false);
  const id = letter.dead_letter_id.slice(0, 12);
  const panel = `letter-${id}`;
  return (
    <li>
      <button
        type="button"
        aria-expanded={open}
        aria-controls={panel}
        onClick={() => setOpen(!open)}
        className="grid w-full gap-x-3 px-3 py-1.5 text-left -outline-offset-2 hover:bg-raised sm:grid-cols-[12.5rem_minmax(0,1fr)] lg:grid-cols-[12.5rem_14rem_minmax(0,1fr)]"
      >
        <span className="text-muted">{dateTime(letter.ts_ms, HERE)}</span>
        <span className="min-w-0">
          <span className="font-semibold">{words(letter.reason)}</span>
          {letter.field && (
            <>
              {" "}
              <code className="font-mono text-xs break-all">{letter.field}</code>
            </>
          )}
          {letter.settled && <span className="ml-1.5 rounded bg-good-soft px-1 text-xs text-good">{words(letter.settled)}</span>}
        </span>
        <span className="min-w-0 break-words text-muted sm:max-lg:col-start-2">{letter.detail}</span>
      </button>
      {open && (
        <div id={panel} className="space-y-2 border-t border-line bg-raised px-3 py-3">
          <p className="text-muted">
            {bytes(letter.raw_bytes)} from <span className="font-mono text-xs break-all">{letter.source}</span>
            {letter.raw_bytes > letter.raw.length && letter.raw_bytes > 8_192 && ", cut below"}
          </p>
          <pre tabIndex={0} aria-label="Raw text" className="max-h-64 overflow-auto rounded border border-line bg-surface p-2 font-mono text-xs break-all whitespace-pre-wrap">
            {letter.raw || "(empty)"}
          </pre>
          {letter.settled ? (
            <p>Settled: {letter.settled}.</p>
          ) : (
            <>
              <p>Mend it and send it again:</p>
              <Command text={mending(letter, id)} />
            </>
          )}
        </div>
      )}
    </li>
  );
}

/** The command that mends a letter: its field by name where it has one, else the whole event from a file. */
export function mending(letter: Letter, id: string): string {
  const isObject = letter.reason !== "malformed_json" && letter.reason !== "not_an_object" && letter.reason !== "too_large";
  const simple = /^[A-Za-z0-9_.]+$/.test(letter.field);
  return isObject && simple ? `penstock dlq fix ${id} --set ${letter.field}=VALUE` : `penstock dlq fix ${id} --file event.json`;
}
