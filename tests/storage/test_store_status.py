"""How the store says how it is doing, whatever its feeds wait for."""

from __future__ import annotations

import threading
from typing import Any

from schemas.log import LogUnavailableError
from storage import metrics
from storage.store.feed import FeedThread
from storage.store.run import _watch
from tests.support.memory_log import MemoryLog
from tests.support.until import until


class Hanging:
    """A feed whose insert gets no answer, as from a ClickHouse that stopped in the middle of one."""

    name = "hanging"

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.waiting = 0

    def step(self, _: Any) -> bool:
        self.answered.wait()
        return False

    def lag_records(self) -> int:
        if self.waiting < 0:
            raise LogUnavailableError("away")
        return self.waiting


async def test_what_waits_is_counted_while_an_insert_hangs() -> None:
    feed, stop, log = Hanging(), threading.Event(), MemoryLog()
    connect: Any = lambda: None  # noqa: E731 - nothing is asked of this client
    thread = FeedThread(feed, connect, stop)
    watch = threading.Thread(target=_watch, args=(log, [thread], [thread], stop))
    thread.start()
    watch.start()
    try:
        feed.waiting = 7
        await until(lambda: metrics.LAG.labels("hanging")._value.get() == 7)
        feed.waiting = -1
        thread.measure()
        assert thread.health.lag_records == 7
    finally:
        stop.set()
        feed.answered.set()
        thread.join()
        watch.join()
