/** A person's word on a decision: undo what took effect, approve or reject what is recommended. */

import { useState } from "react";
import { change } from "../lib/decision-text";
import { clock, HERE } from "../lib/format";
import type { Said, Word } from "../lib/records";
import type { Decision } from "../live/protocol";
import { useAttention } from "./attention";
import { Button, Confirm, Notice } from "./parts";

const LABELS: Record<Word, string> = { undo: "Undo this decision", approve: "Approve", reject: "Reject" };
const ASKED: Record<Word, string> = {
  undo: "What it changed is put back within a second, and automation leaves that alone for a day. A spent budget still stops the campaign.",
  approve: "It takes effect within a second.",
  reject: "Nothing changes, and the like of it is not recommended again for an hour.",
};
const SAID: Record<Word, string> = {
  undo: "Undo was sent; a new decision follows.",
  approve: "Approved; it takes effect now.",
  reject: "Rejected; nothing changes.",
};
const SPOKEN: Record<Word, string> = { undo: "Undone", approve: "Approved", reject: "Rejected" };

/** What may still be said. */
function openWords(decision: Decision, said: Said | undefined): Word[] {
  if (decision.mode === "recommend") {
    if (!said) return ["approve", "reject"];
    return said.word === "approve" && decision.undo ? ["undo"] : [];
  }
  return decision.mode === "auto" && decision.undo && said?.word !== "undo" ? ["undo"] : [];
}

export function DecisionWords({ decision, currency, name }: { decision: Decision; currency: string; name: string }) {
  const attention = useAttention();
  const [done, setDone] = useState<Word | null>(null);
  const [error, setError] = useState("");
  const [asked, setAsked] = useState<Word | null>(null);
  const said = attention.words.get(decision.decision_id);
  const open = done ? [] : openWords(decision, said);
  if (open.length === 0 && !said && !done) return null;
  const say = async (word: Word) => {
    setError("");
    try {
      await attention.say(decision, word);
      setDone(word);
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure));
    }
  };
  return (
    <div className="mt-2 space-y-2">
      {open.length > 0 && (
        <div className="flex flex-wrap gap-2">
          {open.map((word) => (
            <Button key={word} tone={word === "approve" ? "accent" : "plain"} onClick={() => setAsked(word)}>
              {LABELS[word]}
            </Button>
          ))}
        </div>
      )}
      <p role="status" className="not-empty:pt-1">{done ? SAID[done] : said ? `${SPOKEN[said.word]} by ${said.changed_by} at ${clock(said.changed_ms, HERE)}.` : ""}</p>
      {error && (
        <div role="alert">
          <Notice tone="bad">{error}</Notice>
        </div>
      )}
      <Confirm
        open={asked !== null}
        onClose={() => setAsked(null)}
        title={asked ? `${LABELS[asked]}?` : ""}
        description={asked ? `${name}: ${change(decision, currency) || decision.kind}. ${ASKED[asked]}` : ""}
        action={asked ? LABELS[asked] : ""}
        tone={asked === "reject" ? "bad" : "accent"}
        onConfirm={() => (asked ? void say(asked) : undefined)}
      />
    </div>
  );
}
