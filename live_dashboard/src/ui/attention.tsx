/** What waits for a person, known to every page: words on decisions, and changes that platforms did not take. */

import { createContext, type ReactNode, use, useCallback, useMemo, useState } from "react";
import { api } from "../lib/api";
import { waitingFor } from "../lib/recommendations";
import type { PlatformReceipt, Said, Word } from "../lib/records";
import type { Decision } from "../live/protocol";
import { useLive } from "./live";
import { usePolled } from "./polled";

interface Attention {
  troubled: PlatformReceipt[];
  words: ReadonlyMap<string, Said>;
  waiting: Decision[];
  /** Words said on this page since it was opened. */
  own: ReadonlyMap<string, Said>;
  /** Say a word on a decision; raises what the api answers. */
  say: (decision: Decision, word: Word) => Promise<void>;
}

const AttentionContext = createContext<Attention | null>(null);
const NONE: PlatformReceipt[] = [];

export function AttentionProvider({ children }: { children: ReactNode }) {
  const { state } = useLive();
  const troubled = usePolled(api.troubled).value ?? NONE;
  const told = usePolled(api.words).value;
  // Words of this page count at once; the api has them as soon as the log has.
  const [own, setOwn] = useState<ReadonlyMap<string, Said>>(new Map());
  const words = useMemo(() => {
    const known = new Map(own);
    for (const said of told ?? []) {
      const mine = known.get(said.decision_id);
      if (!mine || mine.changed_ms <= said.changed_ms) known.set(said.decision_id, said);
    }
    return known;
  }, [own, told]);
  const say = useCallback(async (decision: Decision, word: Word) => {
    await api.say(decision.decision_id, word);
    const said = { decision_id: decision.decision_id, campaign_id: decision.campaign_id, word, changed_by: "you", changed_ms: Date.now() };
    setOwn((known) => new Map(known).set(decision.decision_id, said));
  }, []);
  const { decisions, rows } = state;
  const asked = useMemo(() => decisions.some((decision) => decision.mode === "recommend"), [decisions]);
  // Rows change in place; how many campaigns do not ask says when to look again.
  const modes = asked ? [...rows.values()].filter((row) => row.bidding.mode !== "recommend").length : 0;
  const waiting = useMemo(() => waitingFor(decisions, words, rows), [decisions, words, rows, modes]);
  const attention = useMemo(() => ({ troubled, words, waiting, own, say }), [troubled, words, waiting, own, say]);
  return <AttentionContext value={attention}>{children}</AttentionContext>;
}

export function useAttention(): Attention {
  const attention = use(AttentionContext);
  if (!attention) throw new Error("no attention");
  return attention;
}
