"""Topic `serving` into Redis, whatever ClickHouse does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import redis

from schemas.health import Loop
from schemas.log import Chunk, Log, LogUnavailableError, OffsetGoneError
from schemas.serving import Serving, at, decode_serving, next_change_ms
from schemas.topics import SERVING
from storage import metrics
from storage.serving import RedisServing, ServingStore
from storage.store.feed import BACKOFF_S
from storage.store.tables import decoded
from storage.words import in_words

_log = logging.getLogger(__name__)

_READ_BYTES: Final = 4 * 2**20
_WAIT_S: Final = 0.2
# How often to look whether a date has passed.
LOOK_EVERY_MS: Final = 1_000
NEVER_MS: Final = 2**62


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ServingFeed:
    """Writes the topic from its beginning, then what changes: by a record, or by the time (dates and day parts)."""

    def __init__(self, log: Log, store: ServingStore, now_ms: Callable[[], int] = _now_ms) -> None:
        self._log = log
        self._store = store
        self._now_ms = now_ms
        self._position = log.begin(SERVING, 0)
        store.begin(log.identity(), log.end(SERVING, 0))
        self._states: dict[tuple[str, str], Serving] = {}
        # When a state is to be written again though no record came.
        self._due_ms: dict[tuple[str, str], int] = {}
        self._looked_ms = 0
        self._unwritten: dict[tuple[str, str], Serving] = {}

    def step(self) -> None:
        """Take what is new and write it. Raises redis.RedisError and LogUnavailableError; then call it again."""
        chunk = self._chunk()
        if chunk is not None:
            for state in decoded(SERVING, chunk.records(), decode_serving):
                self._take(state)
            self._position = chunk.next_offset
        self._look()
        if self._unwritten:
            now_ms = self._now_ms()
            metrics.SERVED.inc(self._store.put([at(state, now_ms) for state in self._unwritten.values()]))
            self._unwritten = {}
        if chunk is not None:
            self._store.reached(self._position)

    def _chunk(self) -> Chunk | None:
        try:
            return self._log.read(SERVING, 0, self._position, _READ_BYTES, _WAIT_S)
        except OffsetGoneError as gone:
            self._position = gone.begin
            return None

    def _take(self, state: Serving) -> None:
        key = state.org_id, state.campaign_id
        known = self._states.get(key)
        if known is None or known.seq <= state.seq:
            self._states[key] = self._unwritten[key] = state
            self._due_ms[key] = next_change_ms(state, self._now_ms()) or NEVER_MS

    def _look(self) -> None:
        """Have those written that the time may have changed; all of them once the clock was set back."""
        now_ms = self._now_ms()
        if 0 <= now_ms - self._looked_ms < LOOK_EVERY_MS:
            return
        is_back, self._looked_ms = now_ms < self._looked_ms, now_ms
        for key, due_ms in self._due_ms.items():
            if is_back or due_ms <= now_ms:
                self._unwritten[key] = self._states[key]
                self._due_ms[key] = next_change_ms(self._states[key], now_ms) or NEVER_MS


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
