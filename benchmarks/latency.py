"""`penstock bench latency`: from the moment an event was due to be sent to its pause, in the log and in a browser.

The embedded stack runs under a steady load, with a dedupe memory that is full from the start. Beside the load, probe
campaigns with a budget of one event are tipped one after the other: the clock starts when the tipping event is due to
be sent, and stops when its durable `pause` can be read from topic `decisions`, and when a WebSocket client has the
frame that shows it. The sender is a process of its own, and says how late it was.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import numpy as np

from benchmarks.pipeline import PARTITIONS, fill_known
from benchmarks.sender import PROBE_COST_MICROS, PROBES_PER_S, Plan, Sent, run
from benchmarks.stack import Stack, stack
from ingest.local_log import LocalLog
from schemas import topics
from schemas.decisions import decode_decision
from schemas.log import Log

SETTLE_S: Final = 5.0
LAST_WITHIN_S: Final = 30.0
# Reading the known ids, and storing them in ClickHouse, before the clock starts.
KNOWN_WITHIN_S: Final = 600.0
_FOLLOWERS: Final = ("flow", "store")


class _Row(msgspec.Struct):
    id: str
    state: str = ""


class _Frame(msgspec.Struct):
    type: str
    rows: list[_Row] = []


_decode_frame: Final = msgspec.json.Decoder(_Frame).decode


@dataclass(slots=True)
class Seen:
    """When each probe's pause was in the log and in a frame, on one monotonic clock, in seconds."""

    decided: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)


def measure(rate: int, seconds: float, data_dir: Path, *, known_ids: int) -> dict[str, Any]:
    """Run the stack under `rate` events a second and report the latencies of the probes, in milliseconds."""
    filled = LocalLog(data_dir / "log", partitions=PARTITIONS, fsync=False)
    fill_known(filled, known_ids)
    filled.close()
    with stack(data_dir) as running:
        sent, seen = asyncio.run(_run(running, rate, seconds))
    return {
        "rate": rate,
        "seconds": seconds,
        "known_ids": known_ids,
        "sent_events": sent.events,
        "sender_late_ms": sent.late_ms,
        "probes": len(sent.due),
        "answered_ms": _percentiles(sent.due, sent.answered),
        "decision_ms": _percentiles(sent.due, seen.decided),
        "frame_ms": _percentiles(sent.due, seen.shown),
    }


async def _run(running: Stack, rate: int, seconds: float) -> tuple[Sent, Seen]:
    seen = Seen()
    probes = tuple(f"probe-{number}" for number in range(int(seconds * PROBES_PER_S)))
    log = LocalLog(running.data_dir / "log", partitions=PARTITIONS)
    await asyncio.to_thread(_until_known, log)
    await _put_campaigns(running.url, probes)
    stop = threading.Event()
    decisions = threading.Thread(target=_watch_decisions, args=(log, seen, stop))
    decisions.start()
    frames = asyncio.create_task(_watch_frames(running.url, seen, stop))
    try:
        address = urlsplit(running.url)
        plan = Plan(address.hostname or "", address.port or 0, rate, SETTLE_S, seconds, probes)
        sent = await asyncio.to_thread(_send, plan)
        for _ in range(round(LAST_WITHIN_S / 0.05)):
            if min(len(seen.decided), len(seen.shown)) == len(probes):
                break
            await asyncio.sleep(0.05)
    finally:
        stop.set()
        await frames
        await asyncio.to_thread(decisions.join)
        log.close()
    return sent, seen


def _send(plan: Plan) -> Sent:
    """Run the sender's process; raises RuntimeError when it failed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    sender = context.Process(target=run, args=(plan, theirs), name="sender")
    sender.start()
    theirs.close()
    try:
        return msgspec.json.decode(ours.recv_bytes(), type=Sent)
    except EOFError as error:
        raise RuntimeError("the sender failed") from error
    finally:
        sender.join()


def _until_known(log: Log) -> None:
    """Wait until flow and store are through with what the log holds."""
    deadline_s = time.monotonic() + KNOWN_WITHIN_S
    ends = {partition: log.end(topics.EVENTS, partition) for partition in range(PARTITIONS)}
    while any((log.committed(group, topics.EVENTS, p) or 0) < end for group in _FOLLOWERS for p, end in ends.items()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"flow and store did not read the known ids within {KNOWN_WITHIN_S:.0f} s")
        time.sleep(0.2)


async def _put_campaigns(url: str, probes: tuple[str, ...]) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for first in range(0, len(probes), 20):
            puts = [_put(client, name) for name in probes[first : first + 20]]
            for answer in await asyncio.gather(*puts):
                answer.raise_for_status()


def _put(client: Any, name: str) -> Any:
    definition = {"campaign_id": name, "name": name, "currency": "USD", "total_budget_micros": PROBE_COST_MICROS}
    return client.put(f"/api/v1/campaigns/{name}", json=definition)


async def _watch_frames(url: str, seen: Seen, stop: threading.Event) -> None:
    from websockets.asyncio.client import connect

    address = url.replace("http", "ws", 1) + "/api/v1/live"
    async with connect(address, subprotocols=["penstock.live.1"], max_size=None) as socket:  # type: ignore[list-item]
        while not stop.is_set():
            try:
                text = await asyncio.wait_for(socket.recv(), 0.2)
            except TimeoutError:
                continue
            now_s = time.monotonic()
            frame = _decode_frame(text)
            if frame.type == "ping":
                await socket.send('{"type":"pong"}')
            for row in frame.rows:
                if row.state == "paused" and row.id.startswith("probe-"):
                    seen.shown.setdefault(row.id, now_s)


def _watch_decisions(log: Log, seen: Seen, stop: threading.Event) -> None:
    offset = log.end(topics.DECISIONS, 0)
    while not stop.is_set():
        chunk = log.read(topics.DECISIONS, 0, offset, 1 << 20, timeout_s=0.2)
        if chunk is None:
            continue
        now_s = time.monotonic()
        for record in chunk.records():
            decision = decode_decision(record)
            if decision.kind == "pause":
                seen.decided.setdefault(decision.campaign_id, now_s)
        offset = chunk.next_offset


def _percentiles(begins: dict[str, float], ends: dict[str, float]) -> dict[str, float | int]:
    """p50, p95, p99 and the largest, in ms; a probe without an end counts as lost."""
    waits = [1_000 * (ends[name] - began) for name, began in begins.items() if name in ends]
    if not waits:
        return {"lost": len(begins)}
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(waits, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(waits), 1), "lost": len(begins) - len(waits)}
