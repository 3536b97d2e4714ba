"""A user's lane: a bounded queue, and threads that each own a connection to the engine.

A thread takes a statement from the queue and keeps it until its answer is fully handed over or nobody wants it any
more. No other thread, task or connection is needed to finish it, so that waiting statements cannot hold up running
ones, however many there are.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from storage.service.errors import TOO_MANY_SIMULTANEOUS_QUERIES, ServiceError, refused
from storage.service.outlet import ClientGone, Outlet

# More than this many waiting means minutes of waiting: better told than kept.
WAITING_MAX: Final = 64
# Whoever waited this long for a thread is told to come again.
WAIT_S_MAX: Final = 60.0

_log = logging.getLogger(__name__)

# Runs a statement on the thread's connection and fills the outlet; True: the connection is spoilt for the next one.
Work = Callable[[Any, Outlet], bool]


@dataclass(slots=True)
class Job:
    """A statement on its way through a lane."""

    work: Work
    outlet: Outlet
    done: Callable[[], None]
    asked_s: float


class Lane:
    """A user's own threads, so that one user's long statements never keep another waiting."""

    def __init__(self, open_connection: Callable[[], Any], threads: int, waiting_max: int = WAITING_MAX) -> None:
        self._open_connection = open_connection
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._under_way = 0
        self._threads = threads
        self._under_way_max = threads + waiting_max
        for number in range(threads):
            connection = open_connection()
            threading.Thread(target=self._run, args=(connection,), name=f"chdb-{number}", daemon=True).start()

    @property
    def wanted(self) -> bool:
        """Statements wait for a thread."""
        return not self._queue.empty()

    def submit(self, work: Work, outlet: Outlet, done: Callable[[], None]) -> None:
        """Queue a statement; raises ServiceError 202 when the queue is full.

        `done` is called once the statement has given up all it held, in the lane's thread.
        """
        with self._lock:
            if self._under_way >= self._under_way_max:
                detail = f"Too many simultaneous queries. Maximum: {self._under_way_max}."
                raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, detail)
            self._under_way += 1
        self._queue.put(Job(work, outlet, done, time.monotonic()))

    def _run(self, connection: Any) -> None:
        while True:
            job = self._queue.get()
            spoilt = True
            try:
                spoilt = self._finished(connection, job)
            finally:
                with self._lock:
                    self._under_way -= 1
                job.done()
            if spoilt:
                connection.close()
                connection = self._open_connection()

    @staticmethod
    def _finished(connection: Any, job: Job) -> bool:
        try:
            if job.outlet.left:
                return False
            if time.monotonic() - job.asked_s > WAIT_S_MAX:
                detail = f"No thread was free within {WAIT_S_MAX:.0f} s."
                raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, detail)
            spoilt = job.work(connection, job.outlet)
            job.outlet.end()
        except ClientGone as gone:
            _ended(job.outlet, gone)
            return True
        except ServiceError as error:
            _ended(job.outlet, error)
            return True
        except Exception as error:
            _log.exception("a statement failed in the service itself")
            _ended(job.outlet, error)
            return True
        return spoilt


def _ended(outlet: Outlet, error: Exception) -> None:
    with contextlib.suppress(ClientGone):
        outlet.end(error)
