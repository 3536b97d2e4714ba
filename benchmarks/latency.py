"""`penstock bench latency`: from the collector's 2xx to the pause in the log, and to the frame in a browser.

The embedded stack runs under a steady load. Beside the load, probe campaigns with a budget of one event are tipped one
after the other: the clock starts when the collector has answered the tipping event with 2xx, and stops when its
`pause` can be read from topic `decisions`, and when a WebSocket client has the frame that shows it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.stack import Stack, stack
from ingest.local_log import LocalLog
from schemas import topics
from schemas.decisions import decode_decision
from schemas.log import Log

PROBES_PER_S: Final = 10
BATCH_EVENTS: Final = 200
LOAD_CAMPAIGNS: Final = 100
SETTLE_S: Final = 5.0
LAST_WITHIN_S: Final = 30.0
PROBE_COST_MICROS: Final = 1_000_000


@dataclass(slots=True)
class Seen:
    """When each probe was answered, decided and shown, on one monotonic clock, in seconds."""

    answered: dict[str, float] = field(default_factory=dict)
    decided: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    sent_events: int = 0
    late_batches: int = 0


def measure(rate: int, seconds: float, data_dir: Path) -> dict[str, Any]:
    """Run the stack under `rate` events a second and report the latencies of the probes, in milliseconds."""
    with stack(data_dir) as running:
        seen = asyncio.run(_run(running, rate, seconds))
    return {
        "rate": rate,
        "seconds": seconds,
        "sent_events": seen.sent_events,
        "batches_behind_schedule": seen.late_batches,
        "probes": len(seen.answered),
        "decision_ms": _percentiles(seen.answered, seen.decided),
        "frame_ms": _percentiles(seen.answered, seen.shown),
    }


async def _run(running: Stack, rate: int, seconds: float) -> Seen:
    import httpx

    seen = Seen()
    probes = [f"probe-{number}" for number in range(int(seconds * PROBES_PER_S))]
    log = LocalLog(running.data_dir / "log", partitions=2)
    stop = asyncio.Event()
    limits = httpx.Limits(max_connections=32)
    async with httpx.AsyncClient(base_url=running.url, timeout=30, limits=limits) as client:
        await _put_campaigns(client, probes)
        watchers = [
            asyncio.create_task(_watch_frames(running.url, seen, stop)),
            asyncio.create_task(_watch_decisions(log, seen, stop)),
        ]
        await _load(client, rate, SETTLE_S, seen)
        seen.sent_events = seen.late_batches = 0
        await asyncio.gather(_load(client, rate, seconds, seen), _probe(client, probes, seen))
        for _ in range(round(LAST_WITHIN_S / 0.05)):
            if min(len(seen.decided), len(seen.shown)) == len(probes):
                break
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*watchers)
    log.close()
    return seen


async def _put_campaigns(client: Any, probes: list[str]) -> None:
    for first in range(0, len(probes), 20):
        puts = [_put(client, name) for name in probes[first : first + 20]]
        for answer in await asyncio.gather(*puts):
            answer.raise_for_status()


def _put(client: Any, name: str) -> Any:
    definition = {"campaign_id": name, "name": name, "currency": "USD", "total_budget_micros": PROBE_COST_MICROS}
    return client.put(f"/api/v1/campaigns/{name}", json=definition)


async def _probe(client: Any, probes: list[str], seen: Seen) -> None:
    # Probes come at uneven moments, so that they meet every phase of whatever runs in periods.
    rng = random.Random(1)
    begin = time.monotonic()
    tasks = []
    for number, name in enumerate(probes):
        due = begin + (number + rng.random()) / PROBES_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(_tip(client, name, seen)))
    await asyncio.gather(*tasks)


async def _tip(client: Any, name: str, seen: Seen) -> None:
    event = {
        "event_id": name, "type": "impression", "ts": time.time_ns() // 1_000_000, "campaign_id": name,
        "cost_micros": PROBE_COST_MICROS,
    }  # fmt: skip
    answer = await client.post("/api/v1/events", content=json.dumps(event).encode())
    answer.raise_for_status()
    seen.answered[name] = time.monotonic()


async def _load(client: Any, rate: int, seconds: float, seen: Seen) -> None:
    """Batches at their due times; one that cannot start within 100 ms of it is counted as behind schedule."""
    headers = {"Content-Type": "application/x-ndjson"}
    begin, batches = time.monotonic(), int(rate * seconds / BATCH_EVENTS)
    waiting: set[asyncio.Task[Any]] = set()
    for number in range(batches):
        due = begin + number * BATCH_EVENTS / rate
        now = time.monotonic()
        if now < due:
            await asyncio.sleep(due - now)
        elif now - due > 0.1:
            seen.late_batches += 1
        while len(waiting) >= 24:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(client.post("/api/v1/events", content=_batch(number), headers=headers))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        seen.sent_events += BATCH_EVENTS
    if waiting:
        await asyncio.wait(waiting)


def _batch(number: int) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    stamp, person = time.monotonic_ns(), number * 31 % 50_000
    return b"\n".join(
        b'{"event_id":"l%d.%d.%d","type":"impression","ts":%d,"campaign_id":"load-%d","creative_id":"cr-%d",'
        b'"channel":"display","platform":"openrtb","user_id":"u%d","country":"US","device":"mobile",'
        b'"placement_id":"p%d","publisher_id":"pub-%d","region":"CA","cost_micros":1500}'
        % (
            stamp,
            number,
            i,
            now_ms,
            (number + i) % LOAD_CAMPAIGNS,
            i % 4,
            person + i * 7,
            i % 20,
            i % 9,
        )
        for i in range(BATCH_EVENTS)
    )


async def _watch_frames(url: str, seen: Seen, stop: asyncio.Event) -> None:
    from websockets.asyncio.client import connect

    address = url.replace("http", "ws", 1) + "/api/v1/live"
    async with connect(address, subprotocols=["penstock.live.1"], max_size=None) as socket:  # type: ignore[list-item]
        while not stop.is_set():
            try:
                text = await asyncio.wait_for(socket.recv(), 0.2)
            except TimeoutError:
                continue
            now = time.monotonic()
            frame = json.loads(text)
            if frame["type"] == "ping":
                await socket.send('{"type":"pong"}')
            for row in frame.get("rows", ()):
                if row["state"] == "paused" and row["id"].startswith("probe-"):
                    seen.shown.setdefault(row["id"], now)


async def _watch_decisions(log: Log, seen: Seen, stop: asyncio.Event) -> None:
    offset = log.end(topics.DECISIONS, 0)
    while not stop.is_set():
        chunk = log.read(topics.DECISIONS, 0, offset, 1 << 20)
        if chunk is None:
            await asyncio.sleep(0.002)
            continue
        now = time.monotonic()
        for record in chunk.records():
            decision = decode_decision(record)
            if decision.kind == "pause":
                seen.decided.setdefault(decision.campaign_id, now)
        offset = chunk.next_offset


def _percentiles(begins: dict[str, float], ends: dict[str, float]) -> dict[str, float | int]:
    """p50, p95, p99 and the largest, in ms; a probe without an end counts as lost."""
    waits = [1_000 * max(0.0, ends[name] - began) for name, began in begins.items() if name in ends]
    if not waits:
        return {"lost": len(begins)}
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(waits, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(waits), 1), "lost": len(begins) - len(waits)}
