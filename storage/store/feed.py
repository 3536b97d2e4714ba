"""One feed: a part of the log that goes to ClickHouse in a thread of its own, so that none holds up another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.health import Loop
from schemas.log import Chunk, Log, LogUnavailableError, OffsetGoneError
from storage import metrics
from storage.client import Client
from storage.store.verify import UnwrittenError
from storage.store.watched import Watched, answering
from storage.words import in_words

_log = logging.getLogger(__name__)

GROUP: Final = "store"
# Bytes of the log in one insert; with what is made of them a feed holds a few times this.
CHUNK_BYTES: Final = 16 * 2**20
# A table that gets a part a second is easily merged.
PACE_S: Final = 1.0
BACKOFF_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
# Not caught up for this long: behind.
BEHIND_S: Final = 10.0
# Size of a record before one was seen.
_RECORD_BYTES: Final = 300.0


class Feed(Protocol):
    """Moves records from the log to ClickHouse."""

    name: str

    def step(self, client: Client) -> bool:
        """Move some; True when there is more to move at once. Nothing is committed before ClickHouse has it.

        Raises what the client and the log raise; then the same step is tried again.
        """
        ...

    def lag_records(self) -> int:
        """About how many records are in the log and not in ClickHouse."""
        ...


@dataclass(slots=True)
class Health:
    """How a feed is doing; written by its thread, read by another."""

    error: str | None = None
    lag_records: int = 0
    caught_up_s: float = 0.0

    def state(self, now_s: float) -> str:
        """ "ok", "behind" or "down"."""
        if self.error is not None:
            return "down"
        return "behind" if now_s - self.caught_up_s > BEHIND_S else "ok"


class Tail:
    """A position in one partition, and how large its records are."""

    def __init__(self, log: Log, topic: str, partition: int, *, start: int | None = None, again: bool = False) -> None:
        self._log = log
        self.topic = topic
        self.partition = partition
        committed = log.committed(GROUP, topic, partition) if start is None else start
        self.position = committed if committed is not None else log.begin(topic, partition)
        self._record_bytes = _RECORD_BYTES
        # False until a chunk has said so.
        self.offsets_are_bytes = False
        # Retention removed records that were not read.
        self.lost = False
        # What is read was stored before: then nothing is lost with what retention removed.
        self._again = again

    def read(self, max_bytes: int, wait_s: float = 0.0) -> Chunk | None:
        """The next records; the position stays. What retention removed is skipped, counted and logged."""
        try:
            chunk = self._log.read(self.topic, self.partition, self.position, max_bytes, wait_s)
        except OffsetGoneError as gone:
            if not self._again:
                metrics.LOST.labels(self.topic).inc(gone.begin - self.position)
                _log.error("%s: what was before it is not stored", gone)
            self.position = gone.begin
            self.lost = True
            return None
        if chunk is not None:
            self.offsets_are_bytes = chunk.offsets is None
            records = max(1, chunk.payload.count(b"\n"))
            self._record_bytes = len(chunk.payload) / records if self.offsets_are_bytes else 1.0
        return chunk

    def commit(self, offset: int) -> None:
        """Remember durably that everything before `offset` is stored."""
        self._log.commit(GROUP, self.topic, self.partition, offset)

    def lag_records(self) -> int:
        """About how many records lie behind the position."""
        behind = max(0, self._log.end(self.topic, self.partition) - self.position)
        return round(behind / self._record_bytes)


class FeedThread(threading.Thread):
    """Runs a feed until it is told to stop; retries with back-off for as long as ClickHouse or the log is away."""

    def __init__(
        self, feed: Feed, connect: Callable[[], Client], stop: threading.Event, loop: Loop | None = None
    ) -> None:
        super().__init__(name=f"store-{feed.name}", daemon=True)
        self._feed = feed
        self._connect = connect
        self._stop_asked = stop
        self._client: Client | None = None
        self.health = Health(caught_up_s=time.monotonic())
        self._loop = loop if loop is not None else Loop(feed.name)
        # What another part must decide first is no work of this one: only while a step says that there is more.
        self._more = False
        self._loop.pending = lambda: max(1, self.health.lag_records) if self._more else 0

    def run(self) -> None:
        """The thread."""
        failures = 0
        while not self._stop_asked.is_set():
            began = time.monotonic()
            try:
                more = self._step()
                failures = 0
                wait = 0.0 if more else max(0.0, PACE_S - (time.monotonic() - began))
            except (ClickHouseError, LogUnavailableError, OSError, UnwrittenError) as error:
                wait = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                self._failed(error)
            self._stop_asked.wait(wait)
        self._disconnect()

    def measure(self) -> None:
        """Count what waits; for another thread, as this one may hang in an insert. A log that is away tells nothing."""
        with suppress(LogUnavailableError):
            self.health.lag_records = self._feed.lag_records()

    def _step(self) -> bool:
        if self._client is None:
            with answering(self._loop):
                self._client = self._connect()
        self._more = more = self._feed.step(Watched(self._client, self._loop))
        self._loop.goes_on()
        self._loop.did()
        self.health.error = None
        if not more:
            self.health.caught_up_s = time.monotonic()
        return more

    def _failed(self, error: Exception) -> None:
        text = str(error).strip().split("\n")[0][:300]
        if self.health.error is None:
            _log.warning("%s: %s; retrying", self._feed.name, text)
        self.health.error = text
        self._loop.turn()
        self._loop.waits_for(
            f"the log: {text}" if isinstance(error, LogUnavailableError) else f"ClickHouse: {in_words(error)}"
        )
        metrics.RETRIES.labels(self._feed.name).inc()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
