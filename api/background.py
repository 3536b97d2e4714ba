"""What runs beside the requests: tails of the log, and the outbox's publisher."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from api import metrics
from api.dead_letters import DeadLetterBoard
from api.decision_history import DecisionHistory
from api.openrtb.roster import Roster
from api.receipts import ReceiptBoard
from api.serving import MemoryServing
from api.tail import follow_from_begin
from api.wiring import Wiring
from api.words import WordBoard
from schemas import topics
from schemas.campaigns import Campaign
from schemas.health import Loop
from schemas.log import Chunk, LogUnavailableError

_log = logging.getLogger(__name__)

# Finds what another process committed but could not publish.
OUTBOX_EVERY_S: Final = 1.0
TURN_S: Final = 0.5


class OutboxPublisher:
    """Publishes changes as soon as they are committed here, and within OUTBOX_EVERY_S those committed elsewhere."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """There is something to publish; from any thread."""
        self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set and `wake` was called."""
        health = self._wiring.progress.loop("outbox")
        while not stop.is_set():
            self._changed.clear()
            health.turn()
            try:
                published = await asyncio.to_thread(self._wiring.store.publish_outbox, self._wiring.log)
                metrics.OUTBOX_PUBLISHED.inc(published)
                health.goes_on()
                if published:
                    health.did(published)
            except (LogUnavailableError, SQLAlchemyError) as error:
                metrics.OUTBOX_FAILURES.inc()
                # Of the database only the kind: the message may hold the address with its password.
                is_log = isinstance(error, LogUnavailableError)
                health.waits_for(f"the log: {error}" if is_log else f"the control database: {type(error).__name__}")
                _log.warning("changes wait in the outbox: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), OUTBOX_EVERY_S)


class Following:
    """What the api holds in memory from topics control, decisions, serving, receipts and events.dlq."""

    def __init__(
        self, serving: MemoryServing, history: DecisionHistory, defined: Callable[[Campaign], None] = lambda _: None
    ) -> None:
        self.serving = serving
        self.history = history
        self.roster = Roster(defined)
        self.receipts = ReceiptBoard()
        self.dead_letters = DeadLetterBoard()
        self.words = WordBoard()
        self._behind = {topics.CONTROL, topics.DECISIONS, topics.SERVING}

    @property
    def ready(self) -> bool:
        """All that was in the log at the start has been read."""
        return not self._behind

    def caught_up(self, topic: str) -> None:
        """What the topic held at the start was read."""
        self._behind.discard(topic)
        metrics.READY.set(self.ready)

    def take_control(self, chunk: Chunk) -> None:
        """Take in records of topic `control`."""
        self.roster.take(chunk)
        self.words.take(chunk)
        self.serving.take_control(chunk)


async def _turn(health: Loop, stop: asyncio.Event) -> None:
    """The event loop itself: while something holds it up, nobody gets an answer."""
    while not stop.is_set():
        health.turn()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TURN_S)


@asynccontextmanager
async def running(wiring: Wiring, following: Following, stop: asyncio.Event) -> AsyncIterator[OutboxPublisher]:
    """Runs tails and publisher while the context lasts; gives the publisher. `stop` may be set ahead of the end."""
    outbox = OutboxPublisher(wiring)
    handlers = {
        topics.CONTROL: following.take_control,
        topics.DECISIONS: following.history.take,
        topics.SERVING: following.serving.take,
        topics.RECEIPTS: following.receipts.take,
        topics.DEAD_LETTERS: following.dead_letters.take,
    }
    tasks = [
        asyncio.create_task(outbox.run(stop), name="outbox"),
        asyncio.create_task(_turn(wiring.progress.loop("event"), stop), name="event loop"),
    ]
    for topic, handle in handlers.items():
        tail = follow_from_begin(
            wiring.log, topic, handle, partial(following.caught_up, topic), stop, wiring.progress.loop(f"tail {topic}")
        )
        tasks.append(asyncio.create_task(tail, name=f"tail {topic}"))
    try:
        yield outbox
    finally:
        stop.set()
        outbox.wake()
        await asyncio.gather(*tasks)
