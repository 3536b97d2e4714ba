"""The sender of `penstock bench latency`, a process of its own: batches and probes at their due times.

A request is due at a moment fixed beforehand, whatever became of the ones before it: what waits for a free connection
waits at the sender's expense, and how late each request began is reported (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import msgspec
import numpy as np

PROBES_PER_S: Final = 10
BATCH_EVENTS: Final = 200
LOAD_CAMPAIGNS: Final = 100
PROBE_COST_MICROS: Final = 1_000_000
# Open connections: at 20,000 events/s a request every 10 ms.
CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send where. Before the measured `seconds` the load runs for `settle_s` without probes."""

    host: str
    port: int
    rate: int
    settle_s: float
    seconds: float
    probes: tuple[str, ...]


class Sent(msgspec.Struct):
    """What was sent in the measured time; moments on the machine's monotonic clock, in seconds, by probe."""

    due: dict[str, float]
    answered: dict[str, float]
    events: int
    requests: int
    # How long after its due moment a request began, in ms.
    late_ms: dict[str, float]


class Due(msgspec.Struct):
    """One request and its moment."""

    at_s: float
    # None: a batch of the load.
    probe: str | None
    number: int


def run(plan: Plan, told: Connection) -> None:
    """Send all; what was sent goes to `told`. The body of the sender's process."""
    told.send_bytes(msgspec.json.encode(asyncio.run(_send(plan))))


def planned(plan: Plan, begin_s: float) -> list[Due]:
    """Every request in order; probes at uneven moments, so that they meet each phase of whatever runs in periods."""
    rng = random.Random(1)
    batches = int(plan.rate * (plan.settle_s + plan.seconds) / BATCH_EVENTS)
    load = [Due(begin_s + number * BATCH_EVENTS / plan.rate, None, number) for number in range(batches)]
    first_s = begin_s + plan.settle_s
    probes = [
        Due(first_s + (number + rng.random()) / PROBES_PER_S, name, number) for number, name in enumerate(plan.probes)
    ]
    return sorted([*load, *probes], key=lambda due: due.at_s)


async def _send(plan: Plan) -> Sent:
    begin_s = time.monotonic() + 0.5
    measured_from_s = begin_s + plan.settle_s
    queue: asyncio.Queue[Due | None] = asyncio.Queue()
    sent, late_s = Sent({}, {}, 0, 0, {}), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(plan.host, plan.port)
        while (due := await queue.get()) is not None:
            began_s = time.monotonic()
            writer.write(_request(plan, due))
            await _answer(reader)
            if due.at_s < measured_from_s:
                continue
            late_s.append(began_s - due.at_s)
            sent.requests += 1
            sent.events += BATCH_EVENTS if due.probe is None else 1
            if due.probe is not None:
                sent.due[due.probe], sent.answered[due.probe] = due.at_s, time.monotonic()
        writer.close()

    connections = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    for due in planned(plan, begin_s):
        await asyncio.sleep(max(0.0, due.at_s - time.monotonic()))
        queue.put_nowait(due)
    for _ in connections:
        queue.put_nowait(None)
    await asyncio.gather(*connections)
    p50, p99 = (round(1_000 * float(value), 1) for value in np.percentile(late_s, (50, 99)))
    sent.late_ms = {"p50": p50, "p99": p99, "max": round(1_000 * max(late_s), 1)}
    return sent


def _request(plan: Plan, due: Due) -> bytes:
    body = _batch(due.number) if due.probe is None else _probe(due.probe)
    return (
        b"POST /api/v1/events HTTP/1.1\r\nHost: %s:%d\r\n"
        b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
        % (plan.host.encode(), plan.port, len(body))
        + body
    )


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"the collector refused: {head[:40]!r} {body[:200]!r}")


def _probe(name: str) -> bytes:
    return b'{"event_id":"%s","type":"impression","ts":%d,"campaign_id":"%s","cost_micros":%d}' % (
        name.encode(), time.time_ns() // 1_000_000, name.encode(), PROBE_COST_MICROS,
    )  # fmt: skip


def _batch(number: int) -> bytes:
    return b"\n".join(_events(number))


def _events(number: int) -> Iterator[bytes]:
    now_ms = time.time_ns() // 1_000_000
    stamp, person = time.monotonic_ns(), number * 31 % 50_000
    for place in range(BATCH_EVENTS):
        yield (
            b'{"event_id":"l%d.%d.%d","type":"impression","ts":%d,"campaign_id":"load-%d","creative_id":"cr-%d",'
            b'"channel":"display","platform":"openrtb","user_id":"u%d","country":"US","device":"mobile",'
            b'"placement_id":"p%d","publisher_id":"pub-%d","region":"CA","cost_micros":1500}'
            % (
                stamp,
                number,
                place,
                now_ms,
                (number + place) % LOAD_CAMPAIGNS,
                place % 4,
                person + place * 7,
                place % 20,
                place % 9,
            )
        )
