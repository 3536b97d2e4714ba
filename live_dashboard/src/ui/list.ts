/** What the table and the cards of campaigns share: what is in sight, and the way between rows by keyboard. */

import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import { age } from "../lib/format";
import type { Order } from "../lib/table";
import type { Configuration, Row } from "../live/protocol";
import type { LiveState } from "../live/state";

export interface View {
  state: LiveState;
  config: Configuration;
  span: string;
  /** The server's clock. */
  now: number;
}

export interface ListProps {
  ids: string[];
  view: View;
  order: Order;
  onOrder: (order: Order) => void;
}

/** Which of `total` items of `itemRem` are in sight or near it; only those are drawn. */
export function useInSight(total: number, itemRem: number) {
  const place = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: 40, px: 44 });
  useLayoutEffect(() => {
    const look = () => {
      const at = place.current;
      if (!at) return;
      const px = itemRem * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const above = -at.getBoundingClientRect().top;
      // In steps of eight, so that scrolling does not draw at every pixel.
      const first = Math.max(0, Math.floor(above / px / 8) * 8 - 8);
      const last = Math.min(total, first + Math.ceil(innerHeight / px) + 24);
      setRange((old) => (old.first === first && old.last === last && old.px === px ? old : { first, last, px }));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [total, itemRem]);
  return { place, ...range };
}

/** Arrow keys go from campaign to campaign. */
export function moveBetweenRows(event: KeyboardEvent<HTMLElement>): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0 || !(event.target as HTMLElement).matches("a[data-row]")) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>("a[data-row]")];
  const next = links[links.indexOf(event.target as HTMLAnchorElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

export function updatedText(row: Row, now: number): string {
  return row.event_ms ? age(now - row.event_ms) : "no events";
}
