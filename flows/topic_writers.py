"""Outputs on their way into the log: one writer a topic, so that a decision never waits for a KPI's fsync."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from flows.metrics import Meter
from schemas.log import Log, LogUnavailableError

# Outputs of one topic held while the log does not take them; then the dataflow waits, and with it the source.
WRITER_BYTES_MAX: Final = 64 * 2**20
# Records of one append: what Kafka's largest request takes at ease.
APPEND_BYTES_MAX: Final = 4 * 2**20
# Waits between attempts, doubling.
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
_TELL_S: Final = 0.5

_log = logging.getLogger(__name__)


class TopicWriter:
    """Appends records of one topic in the order they were put, in a thread of its own, until the log has them."""

    def __init__(
        self,
        log: Log,
        topic: str,
        meter: Meter,
        bytes_max: int = WRITER_BYTES_MAX,
        key_in: Callable[[bytes], str] | None = None,
    ) -> None:
        self._log = log
        self.topic = topic
        self._meter = meter
        self._bytes_max = bytes_max
        # The key that a record of a compacted topic names.
        self._key_in = key_in
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._read_s: list[float | None] = []
        self._bytes = 0
        self._closed = False
        self._error = ""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"sink-{topic}", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[bytes], read_s: float | None = None) -> None:
        """Queue records; waits while WRITER_BYTES_MAX are held. `read_s`: when what caused them was read, monotonic."""
        size = sum(map(len, records))
        with self._changed:
            while not self._changed.wait_for(
                lambda: self._failure is not None or self._bytes < self._bytes_max, timeout=_TELL_S
            ):
                self._tell_wait()
            self._meter.loop.goes_on(self.topic)
            self._must_be_alive()
            self._waiting += records
            self._read_s += [read_s] * len(records)
            self._bytes += size
            self._changed.notify_all()

    def offer(self, records: Sequence[bytes]) -> bool:
        """Queue records unless the writer is full; False when it is."""
        if self._bytes >= self._bytes_max:
            return False
        self.put(records)
        return True

    def drain(self, stopping: Callable[[], bool], grace_s: float) -> bool:
        """Wait until the log has everything. False: `stopping()` holds and the log took nothing for grace_s."""
        waited_s = 0.0
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._failure is not None or self._bytes == 0, timeout=0.1):
                    self._meter.loop.goes_on(self.topic)
                    self._must_be_alive()
                    return True
            self._tell_wait()
            waited_s = waited_s + 0.1 if stopping() else 0.0
            if waited_s >= grace_s:
                return False

    def close(self) -> None:
        """End the thread; what is still waiting is not written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=RETRY_MAX_S)

    def _tell_wait(self) -> None:
        """The dataflow's thread is held up by the log."""
        reason = f": {self._error}" if self._error else ""
        self._meter.loop.waits_for(f"the log to take {self.topic}{reason}", self.topic)

    def _must_be_alive(self) -> None:
        if self._failure is not None:
            raise RuntimeError(f"writing {self.topic} failed") from self._failure

    def _run(self) -> None:
        try:
            while self._write_next():
                pass
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _write_next(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            if self._closed:
                return False
            count, size = _fitting(self._waiting)
            records = self._waiting[:count]
            self._meter.sink_pending.labels(self.topic).set(self._bytes)
        if not self._append(records):
            return False
        now_s = time.monotonic()
        for read_s in self._read_s[:count]:
            if read_s is not None:
                self._meter.decision_seconds.observe(now_s - read_s)
        with self._changed:
            del self._waiting[:count]
            del self._read_s[:count]
            self._bytes -= size
            self._meter.sink_pending.labels(self.topic).set(self._bytes)
            self._changed.notify_all()
        return True

    def _append(self, records: list[bytes]) -> bool:
        """Append until it succeeds: a retry may write records again, which readers know by their keys."""
        wait_s = RETRY_FIRST_S
        keys = None if self._key_in is None else [self._key_in(record) for record in records]
        while True:
            try:
                self._log.append(self.topic, 0, records, keys=keys)
                self._error = ""
                return True
            except LogUnavailableError as error:
                self._error = str(error)
                self._meter.sink_retries.labels(self.topic).inc()
                _log.warning("%s: the log takes no outputs, next try in %.1f s: %s", self.topic, wait_s, error)
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, timeout=wait_s):
                    return False
            wait_s = min(2 * wait_s, RETRY_MAX_S)


def _fitting(records: Sequence[bytes]) -> tuple[int, int]:
    """How many of the first records fit one append, at least one, and their bytes."""
    size = 0
    for count, record in enumerate(records):
        if count and size + len(record) > APPEND_BYTES_MAX:
            return count, size
        size += len(record)
    return len(records), size
