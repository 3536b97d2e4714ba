/** The frame of every page: navigation, freshness, connection, and what everyone must know. */

import { Switch } from "radix-ui";
import { type FormEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { storeKey } from "./lib/api";
import { age, clock, count, HERE, zoneName } from "./lib/format";
import { parseRoute, type Route } from "./lib/route";
import { applyTheme, storedTheme, type Theme } from "./lib/theme";
import { CampaignPage } from "./pages/campaign";
import { CampaignsPage } from "./pages/campaigns";
import { DecisionsPage } from "./pages/decisions";
import { FLOW_SILENT_MS, SystemPage } from "./pages/system";
import { CampaignEditPage, NewCampaignPage } from "./pages/campaign-form";
import { useAttention } from "./ui/attention";
import { useLive, useNow } from "./ui/live";
import { Button, Empty, Notice } from "./ui/parts";
import { TroubleBanner } from "./ui/receipts";

function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return parseRoute(hash);
}

const TITLES = { campaigns: "Campaigns", decisions: "Decisions", system: "System", new: "New campaign", unknown: "Not found" };

export function App() {
  const live = useLive();
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  const key = "id" in route ? `${route.page}/${route.id}` : route.page;
  const name = "id" in route ? live.state.rows.get(route.id)?.name || route.id : TITLES[route.page];

  useEffect(() => {
    document.title = `${name} · Penstock`;
  }, [name]);
  // A new page is read from its top; the focus goes where a reader would begin.
  useLayoutEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [key]);

  return (
    <>
      <a
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
        className="absolute left-2 z-50 -translate-y-20 rounded bg-accent px-3 py-2 text-on-accent focus:translate-y-2"
      >
        Skip to content
      </a>
      <Header route={route} />
      <div className="mx-auto max-w-[105rem] px-3 pb-12 sm:px-4">
        <div className="pt-3">
          <Banners />
        </div>
        <main ref={main} id="main" tabIndex={-1} className="outline-none">
          {live.connection.status === "key" ? <AskKey wrong={live.connection.wrong} /> : <Page route={route} />}
        </main>
      </div>
    </>
  );
}

function Page({ route }: { route: Route }) {
  switch (route.page) {
    case "campaigns":
      return <CampaignsPage />;
    case "campaign":
      return <CampaignPage key={route.id} id={route.id} />;
    case "edit":
      return <CampaignEditPage key={route.id} id={route.id} />;
    case "new":
      return <NewCampaignPage />;
    case "decisions":
      return <DecisionsPage />;
    case "system":
      return <SystemPage />;
    default:
      return (
        <Empty title="There is no such page">
          <a href="#/" className="font-medium text-accent underline underline-offset-2">All campaigns</a>
        </Empty>
      );
  }
}

function Header({ route }: { route: Route }) {
  const bar = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const at = bar.current;
    if (!at) return;
    // The table's head sticks right below, however many lines this bar takes.
    const sizes = new ResizeObserver(() => document.documentElement.style.setProperty("--header", `${at.offsetHeight}px`));
    sizes.observe(at);
    return () => sizes.disconnect();
  }, []);
  const here = route.page === "campaign" || route.page === "edit" || route.page === "new" ? "campaigns" : route.page;
  const { waiting, troubled } = useAttention();
  const badges = {
    campaigns: { size: 0, text: "" },
    decisions: { size: waiting.length, text: "waiting for you" },
    system: { size: troubled.length, text: "in trouble on ad platforms" },
  };
  return (
    <header ref={bar} className="border-b border-line bg-surface tall:sticky tall:top-0 tall:z-20">
      <div className="mx-auto flex max-w-[105rem] flex-wrap items-center gap-x-5 gap-y-1 px-3 py-1.5 sm:px-4">
        <a href="#/" className="flex items-center gap-2 text-sm font-semibold">
          <svg viewBox="0 0 32 32" className="size-5" aria-hidden="true">
            <rect width="32" height="32" rx="6" className="fill-accent" />
            <path d="M6 9h20M6 16h20M6 23h20" className="stroke-on-accent opacity-50" strokeWidth="2.5" strokeLinecap="round" />
            <path d="M19 5v22" className="stroke-on-accent" strokeWidth="4" strokeLinecap="round" />
          </svg>
          <span className="max-sm:sr-only">Penstock</span>
        </a>
        <nav aria-label="Pages" className="flex">
          {(["campaigns", "decisions", "system"] as const).map((page) => (
            <a
              key={page}
              href={page === "campaigns" ? "#/" : `#/${page}`}
              aria-current={here === page ? "page" : undefined}
              className={`border-b-2 px-2.5 py-1.5 font-medium ${here === page ? "border-accent text-text" : "border-transparent text-muted hover:text-text"}`}
            >
              {TITLES[page]}
              {badges[page].size > 0 && (
                <span className="ml-1 rounded-full bg-warn-soft px-1.5 text-xs font-semibold text-warn" title={`${badges[page].size} ${badges[page].text}`}>
                  {badges[page].size}
                  <span className="sr-only"> {badges[page].text}</span>
                </span>
              )}
            </a>
          ))}
        </nav>
        <div className="flex-1 max-sm:order-1" />
        <Freshness />
        <PauseSwitch />
        <ThemeChoice />
      </div>
    </header>
  );
}

function Freshness() {
  const live = useLive();
  const now = useNow(500);
  const { state, connection } = live;
  const serverNow = now + state.clockOffsetMs;
  const look =
    connection.status === "live"
      ? { sign: "●", tone: "text-good", text: "Live" }
      : connection.status === "lost"
        ? { sign: "▲", tone: "text-bad", text: "Connection lost" }
        : { sign: "○", tone: "text-warn", text: connection.status === "key" ? "Key needed" : "Connecting" };
  const event = state.eventMs ? age(Math.max(0, serverNow - state.eventMs)) : "–";
  const frame = state.frameAtMs ? age(Math.max(0, now - state.frameAtMs)) : "–";
  return (
    <div className="flex flex-wrap items-center gap-x-4 gap-y-0.5 max-sm:order-3 max-sm:flex-1 max-sm:gap-x-3" data-testid="freshness">
      <span role="status" className={`font-semibold ${look.tone}`}>
        <span aria-hidden="true">{look.sign} </span>
        {look.text}
      </span>
      <span className="whitespace-nowrap text-muted" title={`Newest event ${state.eventMs ? `at ${clock(state.eventMs, HERE)} ${zoneName(now, HERE)}` : "not seen"}`}>
        Event <span className="inline-block min-w-8 text-text">{event}</span>
      </span>
      <span className="whitespace-nowrap text-muted" title="Age of the last message from the server">
        Frame <span className="inline-block min-w-8 text-text">{frame}</span>
      </span>
    </div>
  );
}

function PauseSwitch() {
  const live = useLive();
  return (
    <div className="flex items-center gap-2 max-sm:order-4">
      <label htmlFor="pause" className="whitespace-nowrap text-muted">
        Pause<span className="max-sm:sr-only"> updates</span>
      </label>
      <Switch.Root
        id="pause"
        checked={live.paused}
        onCheckedChange={(paused) => live.setPaused(paused)}
        className="relative h-5 w-9 rounded-full border border-edge bg-surface data-[state=checked]:border-warn data-[state=checked]:bg-warn"
      >
        <Switch.Thumb className="block size-3.5 translate-x-0.5 rounded-full bg-edge transition-transform data-[state=checked]:translate-x-4.5 data-[state=checked]:bg-surface" />
      </Switch.Root>
    </div>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(storedTheme);
  return (
    <button
      type="button"
      aria-label={`Colours: ${theme}. Change`}
      title={`Colours: ${theme}`}
      onClick={() => {
        const next = NEXT_THEME[theme];
        setTheme(next);
        applyTheme(next);
      }}
      className="inline-flex min-h-7 min-w-7 items-center justify-center gap-1.5 rounded border border-edge px-1.5 text-muted hover:text-text max-sm:order-2"
    >
      <svg viewBox="0 0 16 16" className="size-3.5 fill-current" aria-hidden="true">
        <path d="M8 1a7 7 0 100 14A7 7 0 008 1zm0 1.5v11a5.500 5.500 0 010-11z" fillRule="evenodd" />
      </svg>
      <span className="w-11 text-left max-lg:hidden">{theme.charAt(0).toUpperCase() + theme.slice(1)}</span>
    </button>
  );
}

const NEXT_THEME: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function Banners() {
  const live = useLive();
  const { state, connection } = live;
  const now = useNow();
  const serverNow = now + state.clockOffsetMs;
  const { store } = state;
  const { troubled } = useAttention();
  const flowAt = Math.max(0, ...state.flow.map((status) => status.now_ms));
  const silent = connection.status === "live" && flowAt > 0 && serverNow - flowAt > FLOW_SILENT_MS;
  return (
    <div aria-live="polite" className="space-y-2 not-empty:pb-3">
      {connection.status === "lost" && (
        <Notice tone="bad">
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <span>
              <strong>Connection lost</strong> at {clock(connection.sinceMs, HERE)}. The numbers below are from then.{" "}
              <span aria-hidden="true">
                Reconnecting in {Math.max(0, Math.ceil((connection.retryAtMs - now) / 1_000))} s (try {connection.attempt}).
              </span>
              <span className="sr-only">Reconnecting.</span>
            </span>
            <Button onClick={() => live.reconnectNow()}>Try now</Button>
          </div>
        </Notice>
      )}
      {live.regained && connection.status === "live" && (
        <Notice tone="good">
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <span>
              <strong>Connected again.</strong> No updates from {clock(live.regained.fromMs, HERE)} to {clock(live.regained.toMs, HERE)};
              all numbers have caught up.
            </span>
            <Button onClick={() => live.dismissRegained()}>Dismiss</Button>
          </div>
        </Notice>
      )}
      {live.paused && (
        <Notice tone="warn">
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <span>
              <strong>Updates are paused</strong> since {clock(live.pausedAtMs, HERE)}. Campaigns go on; what changes is shown when you
              resume.
            </span>
            <Button onClick={() => live.setPaused(false)}>Resume updates</Button>
          </div>
        </Notice>
      )}
      {store?.state === "down" && (
        <Notice tone="bad">
          <strong>ClickHouse is down:</strong> numbers here are live, history waits. {count(store.lag_records)} records are kept in the
          log until it is back.
        </Notice>
      )}
      {store?.state === "behind" && (
        <Notice tone="warn">
          <strong>History is behind:</strong> {count(store.lag_records)} records are not in ClickHouse yet. Numbers here are live.
        </Notice>
      )}
      <TroubleBanner troubled={troubled} />
      {silent && (
        <Notice tone="bad">
          <strong>The dataflow is silent</strong> since {clock(flowAt - state.clockOffsetMs, HERE)}: numbers do not move and no decisions
          are made. Events are kept in the log.
        </Notice>
      )}
    </div>
  );
}

function AskKey({ wrong }: { wrong: boolean }) {
  const live = useLive();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get("key") ?? "").trim();
    storeKey(key);
    live.useKey(key);
  };
  return (
    <Empty title="This server asks for an API key">
      <form onSubmit={submit} className="space-y-3">
        <label className="block">
          <span>API key</span>
          <input
            name="key"
            type="password"
            autoComplete="off"
            required
            aria-invalid={wrong}
            className="mt-1 block min-h-8 w-full max-w-sm rounded border border-edge bg-surface px-2 text-text"
          />
        </label>
        {wrong && (
          <p role="alert" className="text-bad">
            The server does not know this key.
          </p>
        )}
        <Button tone="accent" type="submit">
          Open the dashboard
        </Button>
        <p>The key stays in this tab and is forgotten when you close it.</p>
      </form>
    </Empty>
  );
}
