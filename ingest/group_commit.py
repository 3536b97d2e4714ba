"""Many senders, one fsync: appends that wait for the same partition go to the log together, owners in turn."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from ingest.fair_share import FairShare
from schemas.health import Loop
from schemas.log import Log

# Waiting to be written, a process. One owner alone gets half: at 300 bytes an event about 200,000 events.
WAITING_BYTES_MAX: Final = 128 * 2**20
# One append to the log: large enough for the disk's throughput, small enough for the delay of what waits behind it.
APPEND_BYTES_MAX: Final = 8 * 2**20


class Backlogged(Exception):  # noqa: N818 - a state of the log, answered by "send again later"
    """The log does not keep up; `retry_after_s` says when to send again."""

    def __init__(self, waiting_bytes: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting_bytes} bytes wait to be written; send again in {retry_after_s:g} s")
        self.waiting_bytes = waiting_bytes
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Waiting:
    """One sender's records, and the future that its end offset goes to."""

    records: Sequence[bytes]
    keys: Sequence[str] | None
    owner: str
    size_bytes: int
    end: Future[int] = field(default_factory=Future)


class _Queue:
    """What waits for one partition, and the signal for its thread."""

    def __init__(self, lock: threading.Lock) -> None:
        # By owner; whose turn it is comes first.
        self._turns: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self.changed = threading.Condition(lock)

    def put(self, waiting: _Waiting) -> None:
        """Behind what its owner put before."""
        self._turns.setdefault(waiting.owner, deque()).append(waiting)
        self.changed.notify()

    def peek(self) -> _Waiting | None:
        """What `take` would give."""
        return next(iter(self._turns.values()))[0] if self._turns else None

    def take(self) -> _Waiting:
        """The oldest of the owner whose turn it is."""
        owner, its = self._turns.popitem(last=False)
        waiting = its.popleft()
        if its:
            self._turns[owner] = its
        return waiting


class GroupCommit:
    """Coalesces concurrent appends into one `log.append` a partition at a time; a thread for each partition in use.

    A sender's records stay together and in order. Owners (organisations) share the room and take turns, a request
    each: whoever comes beside a backlog waits for two appends at most. The log is not closed with it.
    """

    def __init__(
        self,
        log: Log,
        *,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
        append_bytes_max: int = APPEND_BYTES_MAX,
        retry_after_s: float = 1.0,
        health: Loop | None = None,
    ) -> None:
        self._log = log
        self._room = FairShare(waiting_bytes_max)
        self._append_bytes_max = append_bytes_max
        self._retry_after_s = retry_after_s
        self._lock = threading.Lock()
        self._health = health if health is not None else Loop("append", idles=True)
        self._health.pending = lambda: self.waiting_bytes
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes that senders wait for, those being written included."""
        return self._room.used

    async def append(
        self,
        topic: str,
        partition: int,
        records: Sequence[bytes],
        *,
        keys: Sequence[str] | None = None,
        owner: str = "",
    ) -> int:
        """Like `Log.append`, for coroutines. Raises Backlogged at once, LogUnavailableError after the attempt."""
        return await asyncio.wrap_future(self.submit(topic, partition, records, keys=keys, owner=owner))

    def submit(
        self,
        topic: str,
        partition: int,
        records: Sequence[bytes],
        *,
        keys: Sequence[str] | None = None,
        owner: str = "",
    ) -> Future[int]:
        """Queue records; the future gives the offset behind their group, or what the log raised.

        Raises Backlogged when the room for what waits, or the owner's share of it, is full.
        """
        for record in records:
            # The log would refuse the whole group for one sender's mistake.
            if b"\n" in record:
                raise ValueError(f"{topic}/{partition}: a record holds a newline; a line is one record")
        waiting = _Waiting(records, keys, owner, sum(map(len, records)) + len(records))
        with self._lock:
            if self._closed:
                raise RuntimeError("appended after close")
            if not self._room.take(owner, waiting.size_bytes):
                raise Backlogged(self._room.used, self._retry_after_s)
            self._queue(topic, partition).put(waiting)
        return waiting.end

    def close(self) -> None:
        """Write what waits, then end the threads."""
        with self._lock:
            self._closed = True
            for queue in self._queues.values():
                queue.changed.notify()
        for thread in self._threads:
            thread.join()

    def _queue(self, topic: str, partition: int) -> _Queue:
        queue = self._queues.get((topic, partition))
        if queue is None:
            queue = self._queues[topic, partition] = _Queue(self._lock)
            name = f"append-{topic}-{partition}"
            thread = threading.Thread(target=self._write, args=(topic, partition, queue), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return queue

    def _write(self, topic: str, partition: int, queue: _Queue) -> None:
        while self._write_next(topic, partition, queue):
            pass

    def _write_next(self, topic: str, partition: int, queue: _Queue) -> bool:
        """One append, as soon as something waits; False once all is written and closed."""
        group = self._next_group(queue)
        try:
            if group:
                self._append(topic, partition, group)
        finally:
            with self._lock:
                for waiting in group:
                    self._room.give_back(waiting.owner, waiting.size_bytes)
        return bool(group)

    def _next_group(self, queue: _Queue) -> list[_Waiting]:
        """What goes to the log in one append: at least one sender's records; nothing once all is written and closed."""
        with self._lock:
            queue.changed.wait_for(lambda: queue.peek() is not None or self._closed)
            group: list[_Waiting] = []
            size = 0
            while (head := queue.peek()) is not None:
                # Records with message keys and records without go in appends of their own.
                fits = size + head.size_bytes <= self._append_bytes_max and (
                    not group or (head.keys is None) == (group[0].keys is None)
                )
                if group and not fits:
                    break
                group.append(queue.take())
                size += head.size_bytes
            return group

    def _append(self, topic: str, partition: int, group: list[_Waiting]) -> None:
        records = [record for waiting in group for record in waiting.records]
        keys = [key for waiting in group for key in waiting.keys or ()] if group[0].keys is not None else None
        try:
            end = self._log.append(topic, partition, records, keys=keys)
        except Exception as error:  # the senders are told; the thread goes on with what comes next
            self._health.turn()
            self._health.waits_for(f"the log: {error}", topic)
            for waiting in group:
                _settle(waiting.end, error)
            return
        self._health.goes_on(topic)
        self._health.did(len(records))
        for waiting in group:
            _settle(waiting.end, end)


def _settle(future: Future[int], outcome: int | Exception) -> None:
    """Give a future its outcome, unless whoever waited has gone."""
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
