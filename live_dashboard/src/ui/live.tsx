/** The live store as React sees it. */

import { createContext, use, useEffect, useState, useSyncExternalStore } from "react";
import type { LiveStore } from "../live/store";

export const LiveContext = createContext<LiveStore | null>(null);

/** The store; the component draws again whenever it changed. */
export function useLive(): LiveStore {
  const store = use(LiveContext);
  if (!store) throw new Error("no live store");
  useSyncExternalStore(store.subscribe, store.version);
  return store;
}

/** The store, without drawing again. */
export function useLiveQuietly(): LiveStore {
  const store = use(LiveContext);
  if (!store) throw new Error("no live store");
  return store;
}

/** This machine's clock, drawing again every `everyMs`. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A state that stays between visits of a page within the tab. */
const remembered = new Map<string, unknown>();
export function useRemembered<T>(place: string, initial: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => (remembered.has(place) ? (remembered.get(place) as T) : initial));
  return [
    value,
    (next) => {
      remembered.set(place, next);
      setValue(next);
    },
  ];
}

export function useNarrow(query = "(max-width: 59.9rem)"): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const changed = () => setNarrow(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [query]);
  return narrow;
}
