/** What is asked again and again, as long as somebody looks. */

import { useEffect, useRef, useState } from "react";
import { useLiveQuietly } from "./live";

export const POLL_MS = 5_000;

export interface Polled<T> {
  value: T | null;
  error: string;
  /** Ask now, and not when the time has come. */
  again: () => void;
}

/** The answer of `load`, asked anew every `everyMs` while the page is visible and updates are not paused.
 *
 * `load` must stay the same function between draws. An error keeps the last answer.
 */
export function usePolled<T>(load: (signal: AbortSignal) => Promise<T>, everyMs = POLL_MS): Polled<T> {
  const live = useLiveQuietly();
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState("");
  const now = useRef<() => void>(() => undefined);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isAsking = false;
    let first = true;
    const ask = async (isForced: boolean) => {
      clearTimeout(timer);
      const mayAsk = document.visibilityState === "visible" && live.connection.status !== "key";
      if (!isAsking && mayAsk && (first || isForced || !live.paused)) {
        isAsking = true;
        try {
          const answer = await load(stop.signal);
          if (stop.signal.aborted) return;
          first = false;
          setValue(answer);
          setError("");
        } catch (failure) {
          if (stop.signal.aborted) return;
          setError(failure instanceof Error ? failure.message : String(failure));
        } finally {
          isAsking = false;
        }
      }
      if (!stop.signal.aborted) timer = setTimeout(() => void ask(false), everyMs);
    };
    const seen = () => document.visibilityState === "visible" && void ask(false);
    now.current = () => void ask(true);
    document.addEventListener("visibilitychange", seen);
    void ask(false);
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [live, load, everyMs]);
  return { value, error, again: () => now.current() };
}
