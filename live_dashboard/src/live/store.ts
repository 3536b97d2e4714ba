/** The connection to the hub: keeps it, resumes it after a loss, and tells the page when something changed. */

import { backoffMs } from "./backoff";
import type { Frame } from "./protocol";
import { addGap, applyFrame, emptyState, type LiveState } from "./state";

export type Connection =
  | { status: "connecting" }
  | { status: "live" }
  | { status: "lost"; sinceMs: number; attempt: number; retryAtMs: number }
  | { status: "key"; wrong: boolean };

const UNAUTHORISED = 4401;
/** Without a frame for so many heartbeats the connection counts as lost, whatever the browser says. */
const HEARTBEATS_MISSED_MAX = 2.5;
const CONNECT_TIMEOUT_MS = 10_000;

export class LiveStore {
  readonly state: LiveState = emptyState();
  connection: Connection = { status: "connecting" };
  paused = false;
  pausedAtMs = 0;
  regained: { fromMs: number; toMs: number } | null = null;

  #socket: WebSocket | null = null;
  #key: string;
  #attempt = 0;
  #lostAtMs = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #wanted = new Map<string, number>();
  #listeners = new Set<() => void>();
  #version = 0;
  #frameAsked = false;
  /** Changes that came while paused: those on their way when the switch was turned, and those of a new connection. */
  #held: [Frame, number][] = [];

  constructor(key: string) {
    this.#key = key;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  version = (): number => this.#version;

  start(): void {
    this.#connect();
    addEventListener("online", () => this.reconnectNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.reconnectNow();
      if (!this.paused) this.#say({ type: this.#quiet() ? "pause" : "resume" });
    });
  }

  useKey(key: string): void {
    this.#key = key;
    this.#attempt = 0;
    this.#connect();
  }

  reconnectNow(): void {
    if (this.connection.status === "lost") this.#connect();
  }

  setPaused(paused: boolean): void {
    this.paused = paused;
    this.pausedAtMs = Date.now();
    this.#say({ type: paused ? "pause" : "resume" });
    if (!paused) {
      for (const [frame, atMs] of this.#held.splice(0)) applyFrame(this.state, frame, atMs);
    }
    this.#changed();
  }

  dismissRegained(): void {
    this.regained = null;
    this.#changed();
  }

  /** Keep the points of a campaign at hand until the returned function is called. */
  watch(campaignId: string): () => void {
    this.#wanted.set(campaignId, (this.#wanted.get(campaignId) ?? 0) + 1);
    this.#say({ type: "detail", campaign_id: campaignId });
    return () => {
      const left = (this.#wanted.get(campaignId) ?? 1) - 1;
      if (left > 0) this.#wanted.set(campaignId, left);
      else this.#wanted.delete(campaignId);
    };
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#drop();
    // What was held is asked for again, since it was never taken in.
    this.#held = [];
    const { config, seq } = this.state;
    const url = new URL("/api/v1/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (config) url.search = new URLSearchParams({ session: config.session, seq: String(seq) }).toString();
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, ["penstock.live.1", ...(this.#key ? [`key.${this.#key}`] : [])]);
    } catch {
      // The key holds characters that no subprotocol may have.
      this.connection = { status: "key", wrong: true };
      this.#changed();
      return;
    }
    this.#socket = socket;
    socket.onmessage = (message) => this.#take(JSON.parse(message.data as string) as Frame);
    socket.onclose = (event) => this.#lost(socket, event.code);
    this.#watchFor(CONNECT_TIMEOUT_MS);
  }

  #drop(): void {
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #watchFor(ms: number): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      const socket = this.#socket;
      if (socket) this.#lost(socket, 0);
    }, ms);
  }

  #take(frame: Frame): void {
    const nowMs = Date.now();
    if (this.connection.status !== "live") this.#isLive(nowMs);
    const changes = frame.type === "delta" || frame.type === "snapshot";
    if (this.paused && this.state.ready && changes) this.#held.push([frame, nowMs]);
    else applyFrame(this.state, frame, nowMs);
    if (frame.type === "ping") this.#say({ type: "pong" });
    this.#watchFor((this.state.config?.heartbeat_ms ?? CONNECT_TIMEOUT_MS) * HEARTBEATS_MISSED_MAX);
    this.#changed();
  }

  #isLive(nowMs: number): void {
    this.connection = { status: "live" };
    this.#attempt = 0;
    if (this.#lostAtMs) {
      this.regained = { fromMs: this.#lostAtMs, toMs: nowMs };
      addGap(this.state, {
        fromMs: this.#lostAtMs + this.state.clockOffsetMs,
        toMs: nowMs + this.state.clockOffsetMs,
      });
      this.#lostAtMs = 0;
    }
    if (this.#quiet()) this.#say({ type: "pause" });
    for (const campaignId of this.#wanted.keys()) this.#say({ type: "detail", campaign_id: campaignId });
  }

  #lost(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    this.#drop();
    if (code === UNAUTHORISED) {
      this.connection = { status: "key", wrong: this.#key !== "" };
      this.#changed();
      return;
    }
    // The last frame is what is known for sure to have come.
    if (!this.#lostAtMs && this.state.frameAtMs) this.#lostAtMs = this.state.frameAtMs;
    this.#attempt += 1;
    const waitMs = backoffMs(this.#attempt, Math.random());
    this.connection = {
      status: "lost",
      sinceMs: this.#lostAtMs || Date.now(),
      attempt: this.#attempt,
      retryAtMs: Date.now() + waitMs,
    };
    this.#retry = setTimeout(() => this.#connect(), waitMs);
    this.#changed();
  }

  /** Nobody looks at a page in the background: changes wait on the server, and come as one when it is looked at again. */
  #quiet(): boolean {
    return this.paused || document.visibilityState === "hidden";
  }

  #say(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** One draw a frame, however many messages came. */
  #changed(): void {
    if (this.#frameAsked) return;
    this.#frameAsked = true;
    const draw = () => {
      this.#frameAsked = false;
      this.#version += 1;
      for (const listener of this.#listeners) listener();
    };
    if (document.visibilityState === "visible") requestAnimationFrame(draw);
    else setTimeout(draw, 250);
  }
}
