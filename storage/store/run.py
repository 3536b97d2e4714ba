"""The process `penstock store`, wired."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from schemas.health import Progress
from schemas.log import Log
from storage.client import Client
from storage.schema import prepare
from storage.store.audit import Audit
from storage.store.event_feed import EventFeed
from storage.store.feed import Feed, FeedThread
from storage.store.feeds import topic_feeds
from storage.store.status import Reach, tell

_log = logging.getLogger(__name__)

STATUS_EVERY_S = 1.0
# Writers that have not caught up for so long need ClickHouse more than the comparison does.
BUSY_S = 3.0


class _Database:
    """Gives clients of a database that has its tables: also of one that was made anew while this process runs."""

    def __init__(self, url: str, raw_ttl_days: int, window_ttl_days: int) -> None:
        self._url = url
        self._ttl_days = raw_ttl_days, window_ttl_days
        self._lock = threading.Lock()

    def connected(self) -> Client:
        """A client. Raises the client's exceptions."""
        raw, window = self._ttl_days
        # One thread makes the tables, the others find them made.
        with self._lock:
            return prepare(self._url, raw_ttl_days=raw, window_ttl_days=window)


def run(
    log: Log,
    url: str,
    *,
    raw_ttl_days: int,
    window_ttl_days: int,
    stop: threading.Event,
    redis_url: str = "",
    progress: Progress | None = None,
    audit_whole: bool = True,
    reach: Callable[[], float | None] | None = None,
) -> None:
    """Write the log into ClickHouse, and the serving state into Redis where there is one, until `stop` is set.

    Everything is retried for as long as it takes; a kill at any moment loses nothing. `audit_whole`: raw events stay
    for longer than the log, so that all of it can be compared with ClickHouse. `reach` tells for how many seconds
    ClickHouse may be away, where that is known.
    """
    progress = progress if progress is not None else Progress()
    connected = _Database(url, raw_ttl_days, window_ttl_days).connected
    feeds: list[Feed] = [
        EventFeed(log, raw_ttl_days=raw_ttl_days),
        *topic_feeds(log, raw_ttl_days=raw_ttl_days),
    ]
    writers = [FeedThread(feed, connected, stop, progress.loop(feed.name)) for feed in feeds]

    def busy() -> bool:
        return any(time.monotonic() - writer.health.caught_up_s > BUSY_S for writer in writers)

    audit = Audit(log, raw_ttl_days=raw_ttl_days, whole=audit_whole, is_busy=busy)
    threads = [*writers, FeedThread(audit, connected, stop, progress.loop(audit.name))]
    started: list[threading.Thread] = [*threads]
    if redis_url:
        from storage.store.serving_feed import ServingThread

        started.append(ServingThread(log, redis_url, stop, progress.loop("serving")))
    for thread in started:
        thread.start()
    progress.ready()
    _watch(log, threads, started, stop, audit, None if reach is None else Reach(reach))
    for thread in started:
        thread.join(timeout=10)


def _watch(
    log: Log,
    feeds: Sequence[FeedThread],
    threads: list[threading.Thread],
    stop: threading.Event,
    audit: Audit | None = None,
    reach: Reach | None = None,
) -> None:
    """Tell how it goes; a thread that died of a bug ends the process, so that a supervisor starts it again."""
    healths = {thread.name.removeprefix("store-"): thread.health for thread in feeds}
    state = "ok"
    while not stop.wait(STATUS_EVERY_S):
        for feed in feeds:
            feed.measure()
        status = tell(log, healths, audit.last if audit is not None else None, reach)
        if status.state != state:
            _log.warning("store is %s%s", status.state, f": {status.error}" if status.error else "")
            state = status.state
        dead = [thread.name for thread in threads if not thread.is_alive()]
        if dead:
            stop.set()
            raise RuntimeError(f"{', '.join(dead)} ended; its traceback is above")
