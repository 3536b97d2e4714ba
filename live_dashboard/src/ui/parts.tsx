/** Small parts that every page is made of. */

import { AlertDialog, Dialog as RadixDialog, ToggleGroup } from "radix-ui";
import { type ButtonHTMLAttributes, type ReactNode, useId, useRef, useState } from "react";
import { NONE, words } from "../lib/format";
import type { CampaignState } from "../live/protocol";

type Tone = "plain" | "accent" | "bad";
const TONES: Record<Tone, string> = {
  plain: "border-edge bg-surface text-text hover:bg-raised",
  accent: "border-accent bg-accent text-on-accent hover:opacity-90",
  bad: "border-bad bg-surface text-bad hover:bg-bad-soft",
};

export function Button({
  tone = "plain",
  className = "",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { tone?: Tone }) {
  return (
    <button
      type="button"
      className={`inline-flex min-h-8 items-center justify-center gap-1.5 rounded border px-3 font-medium whitespace-nowrap disabled:cursor-not-allowed disabled:opacity-60 ${TONES[tone]} ${className}`}
      {...rest}
    />
  );
}

const STATE_LOOK: Record<CampaignState, { tone: string; sign: ReactNode; label: string }> = {
  active: { tone: "bg-good-soft text-good", sign: <path d="M3 2l6 4-6 4z" />, label: "Active" },
  paused: { tone: "bg-bad-soft text-bad", sign: <path d="M2.5 2h2.5v8H2.5zM7 2h2.5v8H7z" />, label: "Paused" },
  scheduled: {
    tone: "bg-accent-soft text-accent",
    sign: <path d="M6 1a5 5 0 100 10A5 5 0 006 1zm.6 2v2.8l2 1.2-.5.9L5.4 6.3V3z" />,
    label: "Scheduled",
  },
  ended: { tone: "bg-line text-text", sign: <path d="M2.5 2.5h7v7h-7z" />, label: "Ended" },
  unknown: {
    tone: "bg-warn-soft text-warn",
    sign: <path d="M6 1l5.5 10H.5zm-.6 3.5v3.2h1.2V4.5zm0 4v1.2h1.2V8.5z" fillRule="evenodd" />,
    label: "Unknown",
  },
  archived: { tone: "bg-line text-muted", sign: <path d="M1.5 2h9v2.5h-9zM2.5 5.5h7V10h-7zM4.5 6.5v1h3v-1z" />, label: "Archived" },
};

/** What "unknown" and absent reasons mean to a person. */
export function reasonText(state: CampaignState, reason: string | null): string {
  if (reason) return words(reason);
  return state === "unknown" ? "Events without a definition" : "";
}

export function StateBadge({ state }: { state: CampaignState }) {
  const look = STATE_LOOK[state] ?? STATE_LOOK.unknown;
  return (
    <span className={`inline-flex items-center gap-1 rounded px-1.5 py-px text-xs font-semibold ${look.tone}`}>
      <svg viewBox="0 0 12 12" className="size-2.5 fill-current" aria-hidden="true">
        {look.sign}
      </svg>
      {look.label}
    </span>
  );
}

export function Card({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  const id = useId();
  return (
    <section aria-labelledby={id} className="flex min-w-0 flex-col rounded-md border border-line bg-surface">
      <div className="flex min-h-9 flex-wrap items-center justify-between gap-x-3 gap-y-1 border-b border-line px-3 py-1">
        <h2 id={id} className="font-semibold">
          {title}
        </h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

/** A dash with its reason, for eyes and for screen readers. */
export function Undefined({ why }: { why: string }) {
  return (
    <span title={why} className="text-muted">
      <span aria-hidden="true">{NONE}</span>
      <span className="sr-only">{why}</span>
    </span>
  );
}

export function Choice({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: { id: string; title: string; explain?: string }[];
  onChange: (id: string) => void;
}) {
  return (
    <ToggleGroup.Root
      type="single"
      value={value}
      onValueChange={(next) => next && onChange(next)}
      aria-label={label}
      className="inline-flex max-w-full flex-wrap rounded border border-edge bg-surface p-px"
    >
      {options.map((option) => (
        <ToggleGroup.Item
          key={option.id}
          value={option.id}
          title={option.explain}
          className="min-h-7 rounded-sm px-2 font-medium text-muted hover:text-text data-[state=on]:bg-accent-soft data-[state=on]:text-accent data-[state=on]:underline data-[state=on]:decoration-2 data-[state=on]:underline-offset-4"
        >
          {option.title}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}

export function Notice({ tone, children }: { tone: "warn" | "bad" | "info" | "good"; children: ReactNode }) {
  const look = {
    warn: "border-warn bg-warn-soft",
    bad: "border-bad bg-bad-soft",
    info: "border-accent bg-accent-soft",
    good: "border-good bg-good-soft",
  }[tone];
  return <div className={`rounded border-l-4 px-3 py-2 text-text ${look}`}>{children}</div>;
}

/** What became of what was asked for: said when it comes, and without room before. */
export function Outcome({ done, error, padded }: { done: string; error: string; padded?: boolean }) {
  const room = padded ? "px-3 py-2" : "";
  return (
    <>
      <div role="status">
        {done && (
          <div className={room}>
            <Notice tone="good">{done}</Notice>
          </div>
        )}
      </div>
      {error && (
        <div role="alert" className={room}>
          <Notice tone="bad">{error}</Notice>
        </div>
      )}
    </>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="mx-auto max-w-2xl px-4 py-10">
      <h3 className="text-base font-semibold">{title}</h3>
      <div className="mt-2 space-y-3 text-muted">{children}</div>
    </div>
  );
}

/** Text to copy into a terminal. */
export function Command({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <div className="rounded border border-line bg-raised">
      <pre className="p-3 font-mono text-xs break-words whitespace-pre-wrap text-text" aria-label="Command">
        {text}
      </pre>
      <div className="flex items-center gap-3 border-t border-line px-3 py-1.5">
        <Button
          onClick={() => {
            navigator.clipboard?.writeText(text).then(
              () => setCopied(true),
              () => setCopied(false),
            );
          }}
        >
          Copy
        </Button>
        <span aria-live="polite">{copied ? "Copied" : ""}</span>
      </div>
    </div>
  );
}

/** Where the focus was when a dialog opened: it goes back there. */
function useFocusReturn(open: boolean) {
  const from = useRef<HTMLElement | null>(null);
  const wasOpen = useRef(false);
  if (open && !wasOpen.current) from.current = document.activeElement as HTMLElement | null;
  wasOpen.current = open;
  return (event: Event) => {
    event.preventDefault();
    from.current?.focus();
  };
}

export function Dialog({
  open,
  onOpenChange,
  title,
  description,
  wide,
  children,
}: {
  open: boolean;
  wide?: boolean;
  onOpenChange: (open: boolean) => void;
  title: string;
  description: string;
  children: ReactNode;
}) {
  const giveBack = useFocusReturn(open);
  return (
    <RadixDialog.Root open={open} onOpenChange={onOpenChange}>
      <RadixDialog.Portal>
        <RadixDialog.Overlay className="fixed inset-0 z-40 bg-black/50" />
        <RadixDialog.Content onCloseAutoFocus={giveBack} className={`fixed top-1/2 left-1/2 z-50 max-h-[95dvh] -translate-x-1/2 -translate-y-1/2 overflow-y-auto rounded-lg border border-edge bg-surface p-5 shadow-xl ${wide ? "w-[min(52rem,94vw)]" : "w-[min(30rem,94vw)]"}`}>
          <RadixDialog.Title className="text-base font-semibold">{title}</RadixDialog.Title>
          <RadixDialog.Description className="mt-1 text-muted">{description}</RadixDialog.Description>
          {children}
        </RadixDialog.Content>
      </RadixDialog.Portal>
    </RadixDialog.Root>
  );
}

/** Spend of the last minutes as a line; its text is in the cell's label. */
export function SparkLine({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  const step = 120 / Math.max(1, values.length - 1);
  const path = values.map((value, at) => `${(at * step).toFixed(1)},${(26 - (24 * value) / most).toFixed(1)}`).join(" ");
  return (
    <svg viewBox="0 0 120 28" preserveAspectRatio="none" className="h-6 w-full" role="img" aria-label={label}>
      <polygon points={`0,28 ${path} 120,28`} className="fill-accent-soft" />
      <polyline points={path} className="fill-none stroke-accent" strokeWidth="1.5" vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

/** Asks before something is done; Escape and Cancel leave all as it is. */
export function Confirm({
  open,
  onClose,
  title,
  description,
  action,
  tone = "accent",
  onConfirm,
  children,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  description: string;
  action: string;
  tone?: Tone;
  onConfirm: () => void;
  children?: ReactNode;
}) {
  const giveBack = useFocusReturn(open);
  return (
    <AlertDialog.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <AlertDialog.Portal>
        <AlertDialog.Overlay className="fixed inset-0 z-40 bg-black/50" />
        <AlertDialog.Content onCloseAutoFocus={giveBack} className="fixed top-1/2 left-1/2 z-50 max-h-[95dvh] w-[min(28rem,94vw)] -translate-x-1/2 -translate-y-1/2 overflow-y-auto rounded-lg border border-edge bg-surface p-5 shadow-xl">
          <AlertDialog.Title className="text-base font-semibold">{title}</AlertDialog.Title>
          <AlertDialog.Description className="mt-1 text-muted">{description}</AlertDialog.Description>
          {children}
          <div className="mt-5 flex flex-wrap justify-end gap-2">
            <AlertDialog.Cancel asChild>
              <Button>Cancel</Button>
            </AlertDialog.Cancel>
            <AlertDialog.Action asChild>
              <Button tone={tone} onClick={onConfirm}>
                {action}
              </Button>
            </AlertDialog.Action>
          </div>
        </AlertDialog.Content>
      </AlertDialog.Portal>
    </AlertDialog.Root>
  );
}
