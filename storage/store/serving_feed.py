"""Topics `control` and `decisions` into Redis, whatever ClickHouse does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
import redis

from schemas import topics
from schemas.health import Loop
from schemas.live import LiveFrame, decode_live
from schemas.log import Chunk, Log, LogUnavailableError, OffsetGoneError
from schemas.serving import Serving
from storage import metrics
from storage.serving import RedisServing, ServingStore
from storage.serving_fold import ServingFold, ends, spendable_of
from storage.serving_schedule import at
from storage.store.feed import BACKOFF_S
from storage.store.tables import decoded
from storage.words import in_words

_log = logging.getLogger(__name__)

_READ_BYTES: Final = 4 * 2**20
# How long to wait for a decision before looking for a definition.
_WAIT_S: Final = 0.2
# How often to look whether a date has passed, and to keep what was folded.
LOOK_EVERY_MS: Final = 1_000
KEEP_EVERY_MS: Final = 10_000
NEVER_MS: Final = 2**62


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _bad(topic: str, error: Exception) -> None:
    metrics.BAD_RECORDS.labels(topic).inc()
    _log.warning("a record of topic %s was left out: %s", topic, error)


class Spendable:
    """What each campaign may still spend, from topic `live`: only the dataflow knows it. It is lost with this process
    and told again by the campaign's next live row."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._position = log.end(topics.LIVE, 0)
        self._micros: dict[tuple[str, str], int | None] = {}

    def refresh(self) -> set[tuple[str, str]]:
        """Take what is new; returns the campaigns that may now spend another amount. Raises LogUnavailableError."""
        changed = set()
        while (chunk := self._chunk()) is not None:
            for record in decoded(topics.LIVE, chunk.records(), decode_live):
                for row in record.rows if isinstance(record, LiveFrame) else []:
                    key, micros = (row.org_id, row.campaign_id), spendable_of(row)
                    if self._micros.get(key) != micros:
                        self._micros[key] = micros
                        changed.add(key)
            self._position = chunk.next_offset
        return changed

    def _chunk(self) -> Chunk | None:
        try:
            return self._log.read(topics.LIVE, 0, self._position, _READ_BYTES)
        except OffsetGoneError as gone:
            self._position = gone.begin
            return self._log.read(topics.LIVE, 0, self._position, _READ_BYTES)

    def added_to(self, state: Serving) -> Serving:
        """The state with what its campaign may spend."""
        return msgspec.structs.replace(state, spendable_micros=self._micros.get((state.org_id, state.campaign_id)))


class ServingFeed:
    """Folds both topics from where it was, else from their beginning; once it is where they ended when it began, writes
    all, then what changes: by a record, or by the time (dates and day parts of the definition)."""

    def __init__(self, log: Log, store: ServingStore, now_ms: Callable[[], int] = _now_ms) -> None:
        self._log = log
        self._store = store
        self._now_ms = now_ms
        self._identity = log.identity()
        self._fold = ServingFold(_bad)
        self._targets = ends(log)
        saved = store.begin(self._identity)
        if saved is not None and not self._fold.restore(saved, self._identity, self._targets):
            _log.warning("the kept serving state does not fit the log: it is built anew from the log")
        self._positions = {
            topic: max(log.begin(topic, 0), self._fold.offsets[topic]) for topic in (topics.CONTROL, topics.DECISIONS)
        }
        self._due_ms: dict[tuple[str, str], int] = {}
        self._looked_ms = self._kept_ms = 0
        self._kept: dict[str, int] = {}
        self._unwritten: dict[tuple[str, str], Serving] = {}
        self.caught_up = False
        self._spendable = Spendable(log)
        self._states: dict[tuple[str, str], Serving] = {}

    def step(self) -> None:
        """Take what is new and write it. Raises redis.RedisError and LogUnavailableError; then call it again."""
        changed = self._taken(topics.CONTROL, 0.0) + self._taken(topics.DECISIONS, _WAIT_S)
        respent = self._spendable.refresh()
        if self.caught_up:
            self._note(changed)
            self._note([self._states[key] for key in respent if key in self._states])
        elif all(position >= self._targets[topic] for topic, position in self._positions.items()):
            self.caught_up = True
            self._note(self._fold.snapshot())
        now_ms = self._now_ms()
        if self.caught_up:
            self._note(self._due(now_ms))
        if self._unwritten:
            metrics.SERVED.inc(self._store.put(self._unwritten.values()))
            self._unwritten = {}
        # A clock that was set back is no reason to wait until it is there again.
        keeps = not 0 <= now_ms - self._kept_ms < KEEP_EVERY_MS
        if self.caught_up and keeps and self._positions != self._kept:
            self._store.keep(self._fold.saved(self._identity))
            self._kept_ms, self._kept = now_ms, dict(self._positions)

    def _due(self, now_ms: int) -> list[Serving]:
        """States that the time may have changed."""
        if now_ms < self._looked_ms:
            self._due_ms.clear()
        elif now_ms - self._looked_ms < LOOK_EVERY_MS:
            return []
        self._looked_ms = now_ms
        due = []
        for key, schedule in self._fold.schedules():
            if key in self._states and self._due_ms.get(key, 0) <= now_ms:
                due.append(self._states[key])
                self._due_ms[key] = schedule.next_change_ms(now_ms) or NEVER_MS
        return due

    def _note(self, states: list[Serving]) -> None:
        """Have the states written, with what their campaigns may spend."""
        for state in states:
            key = state.org_id, state.campaign_id
            if key not in self._states or self._states[key] is not state:
                # What the record changed may be the schedule.
                self._due_ms.pop(key, None)
            self._states[key] = state
            self._unwritten[key] = at(self._spendable.added_to(state), self._fold.schedule(*key), self._now_ms())

    def _taken(self, topic: str, wait_s: float) -> list[Serving]:
        try:
            chunk = self._log.read(topic, 0, self._positions[topic], _READ_BYTES, wait_s)
        except OffsetGoneError as gone:
            self._positions[topic] = gone.begin
            return []
        if chunk is None:
            return []
        self._positions[topic] = chunk.next_offset
        return self._fold.take(chunk)


class ServingThread(threading.Thread):
    """Runs the feed until it is told to stop; a Redis that lost its memory gets every state again."""

    def __init__(self, log: Log, url: str, stop: threading.Event, loop: Loop | None = None) -> None:
        super().__init__(name="store-serving", daemon=True)
        self._log = log
        self._url = url
        self._stop_asked = stop
        self._loop = loop if loop is not None else Loop("serving")

    def run(self) -> None:
        """The thread."""
        failures = 0
        while not self._stop_asked.is_set():
            store = RedisServing(self._url)
            try:
                feed = ServingFeed(self._log, store)
                while not self._stop_asked.is_set():
                    feed.step()
                    failures = 0
                    self._loop.goes_on()
                    self._loop.did()
            except (redis.RedisError, LogUnavailableError, OSError) as error:
                if failures == 0:
                    _log.warning("serving state: %s; retrying", error)
                metrics.RETRIES.labels("serving").inc()
                self._loop.turn()
                kind = "Redis" if isinstance(error, redis.RedisError) else "the log"
                self._loop.waits_for(f"{kind}: {in_words(error)}")
                self._stop_asked.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
            finally:
                store.close()
