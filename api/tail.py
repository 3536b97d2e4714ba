"""Follow a topic in the background: what the api keeps in memory is rebuilt from the log and kept up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from schemas.health import Loop
from schemas.log import Chunk, Log, LogUnavailableError, OffsetGoneError

_log = logging.getLogger(__name__)

# A read waits in a thread of its own, so that tails never take the threads that requests need.
TAILS_MAX: Final = 16
READ_WAIT_S: Final = 0.1
READ_BYTES: Final = 1 << 20
# Between two tries while the log is away.
RETRY_S: Final = 0.5

_threads = ThreadPoolExecutor(max_workers=TAILS_MAX, thread_name_prefix="tail")


async def follow(
    log: Log,
    topic: str,
    partition: int,
    offset: int,
    handle: Callable[[Chunk], None],
    stop: asyncio.Event,
    health: Loop | None = None,
    skipped: Callable[[int], None] = lambda _: None,
) -> None:
    """Call `handle` on the event loop with every chunk from `offset` on, until `stop` is set.

    Goes on where the log starts when retention passed it by (`skipped` is told where), and tries again while the log
    is unavailable. A chunk that makes `handle` raise is reported and left behind, so that one bad record
    cannot stop what follows it.
    """
    loop = asyncio.get_running_loop()
    health = health if health is not None else Loop(topic)
    while not stop.is_set():
        health.turn()
        try:
            chunk = await loop.run_in_executor(_threads, log.read, topic, partition, offset, READ_BYTES, READ_WAIT_S)
        except OffsetGoneError as gone:
            offset = gone.begin
            skipped(offset)
            continue
        except LogUnavailableError as error:
            health.waits_for(f"the log: {error}")
            _log.warning("cannot follow %s/%d, trying again: %s", topic, partition, error)
            await _pause(stop)
            continue
        except Exception:
            # A tail that ended here would leave bidders with an old state for good.
            _log.exception("cannot follow %s/%d, trying again", topic, partition)
            await _pause(stop)
            continue
        health.goes_on()
        if chunk is None:
            continue
        health.did()
        offset = chunk.next_offset
        try:
            handle(chunk)
        except Exception:
            _log.exception("a chunk of %s/%d up to offset %d was left out", topic, partition, offset)


async def follow_from_begin(
    log: Log,
    topic: str,
    handle: Callable[[Chunk], None],
    caught_up: Callable[[], None],
    stop: asyncio.Event,
    health: Loop | None = None,
) -> None:
    """Follow partition 0 of a topic from its begin; `caught_up` is called once what was there at the start was seen."""
    health = health if health is not None else Loop(topic)
    bounds = await _bounds(log, topic, stop, health)
    if bounds is None:
        return
    begin, end = bounds
    is_behind = begin < end
    if not is_behind:
        caught_up()

    def take(chunk: Chunk) -> None:
        try:
            handle(chunk)
        finally:
            seen(chunk.next_offset)

    def seen(offset: int) -> None:
        nonlocal is_behind
        if is_behind and offset >= end:
            is_behind = False
            caught_up()

    # The last records may be those that a repair of the log has set aside.
    await follow(log, topic, 0, begin, take, stop, health, seen)


async def _bounds(log: Log, topic: str, stop: asyncio.Event, health: Loop) -> tuple[int, int] | None:
    """The topic's begin and end, however long the log is away; None when `stop` was set first."""
    while not stop.is_set():
        try:
            return await asyncio.to_thread(lambda: (log.begin(topic, 0), log.end(topic, 0)))
        except LogUnavailableError as error:
            health.turn()
            health.waits_for(f"the log: {error}")
            await _pause(stop)
    return None


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), RETRY_S)
