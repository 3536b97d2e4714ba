"""When recorded events are sent again: as fast as they are taken, or at the speed they happened, times a factor."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ingest.replay.order import Timed

BATCH_EVENTS: Final = 2_000
# Below the collector's own bound on a request, with room for one more event.
BATCH_BYTES: Final = 4 * 2**20
# Events due within this time go together.
_TOGETHER_S: Final = 0.05
_SPEED = re.compile(r"(\d+(?:\.\d+)?)x", re.ASCII)


def speed_factor(speed: str) -> float:
    """`max` or a factor such as `1x` or `60x`; raises ValueError.

    >>> speed_factor("60x"), speed_factor("max")
    (60.0, inf)
    """
    if speed == "max":
        return math.inf
    match = _SPEED.fullmatch(speed)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"speed is {speed!r}; it must be max, or a factor such as 1x or 60x")
    return float(match[1])


def shift_to_now_ms(first_ms: int, last_ms: int, *, factor: float, now_ms: int) -> int:
    """What to add to every event's time so that the last one is sent at its own time, and none before its own.

    At `max` the last event is now, at `1x` the first: it is one rule, since the last is sent (last - first) / factor
    from now.

    >>> shift_to_now_ms(1_000, 5_000, factor=math.inf, now_ms=9_000)
    4000
    >>> shift_to_now_ms(1_000, 5_000, factor=1.0, now_ms=9_000)
    8000
    """
    return now_ms + round((last_ms - first_ms) / factor) - last_ms


def batched(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The records in batches that the collector takes in one request."""
    batch: list[bytes] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record) + 1
        if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def paced(
    events: Iterable[Timed],
    factor: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[bytes]]:
    """Batches of events by time, each given when its first event is due."""
    if math.isinf(factor):
        yield from batched(event.record for event in events)
        return
    start_s = clock()
    first_ms: int | None = None
    batch: list[bytes] = []
    batch_due_s = 0.0
    size = 0
    for event in events:
        first_ms = event.ts_ms if first_ms is None else first_ms
        due_s = start_s + (event.ts_ms - first_ms) / 1_000 / factor
        if batch and (due_s > batch_due_s + _TOGETHER_S or len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES):
            yield batch
            batch, size = [], 0
        if not batch:
            batch_due_s = due_s
            sleep(max(0.0, due_s - clock()))
        batch.append(event.record)
        size += len(event.record) + 1
    if batch:
        yield batch
