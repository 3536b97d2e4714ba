"""Who leads where there may be one only: by a lock on a file of one machine, or by a lease that Kafka gives.

A process that loses the lease stops at once; what it had under way then is the same to its successor as what a killed
process had under way.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaException

# Without a sign of life for so long Kafka gives the lease to another: the least that brokers allow by default.
SESSION_S: Final = 6.0
_POLL_S: Final = 0.25
# A process that was frozen for longer than this no longer believes that it leads.
_BELIEVED_S: Final = SESSION_S / 2


class LeaseHeldError(Exception):
    """Another process leads; the message says which."""


class Lease(Protocol):
    """Held from `acquire` to `release`, or until it is lost."""

    def acquire(self, waits: Callable[[], bool]) -> bool:
        """Become the leader; False when `waits` said no more. Raises LeaseHeldError where nobody can wait for it."""
        ...

    def held(self) -> bool:
        """Whether this process leads. Once False it stays so."""
        ...

    def release(self) -> None: ...


class FileLease:
    """A lock on a file; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._file: Any = None

    def acquire(self, waits: Callable[[], bool]) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = file.read(20).strip()
            file.close()
            raise LeaseHeldError(f"{self._what} already runs on {self._path.parent} (process {holder})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return waits()

    def held(self) -> bool:
        return self._file is not None

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class KafkaLease:
    """Membership in a group that gives a topic's only partition to one member; the others wait for their turn."""

    def __init__(self, bootstrap: str, topic: str, group: str, *, config: dict[str, str] | None = None) -> None:
        self._topic = topic
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "log_level": 0,
            **(config or {}),
            "group.id": group,
            "enable.auto.commit": False,
            "session.timeout.ms": round(SESSION_S * 1_000),
            # Whoever has the partition keeps it when another member comes.
            "partition.assignment.strategy": "cooperative-sticky",
            "heartbeat.interval.ms": round(SESSION_S * 1_000 / 4),
        }
        self._consumer = Consumer(settings)
        self._leads = threading.Event()
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._polled_s = time.monotonic()
        self._thread = threading.Thread(target=self._poll, name="lease", daemon=True)

    def acquire(self, waits: Callable[[], bool]) -> bool:
        self._thread.start()
        while waits():
            if self._leads.wait(_POLL_S):
                return True
        return False

    def held(self) -> bool:
        if time.monotonic() - self._polled_s > _BELIEVED_S:
            self._lost.set()
        return self._leads.is_set() and not self._lost.is_set()

    def release(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()

    def _poll(self) -> None:
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._gone, on_lost=self._gone)
        while not self._closed.is_set():
            if self._leads.is_set() and time.monotonic() - self._polled_s > _BELIEVED_S:
                self._lost.set()
            self._polled_s = time.monotonic()
            try:
                self._consumer.poll(_POLL_S)
            except KafkaException:
                # The broker is away: the session runs out by itself, and then somebody else may lead.
                time.sleep(_POLL_S)

    def _assigned(self, consumer: Any, partitions: Any) -> None:
        consumer.incremental_assign(partitions)
        if partitions:
            # The membership is all that is wanted, not the records.
            consumer.pause(partitions)
            self._leads.set()

    def _gone(self, _consumer: Any, partitions: Any) -> None:
        if partitions and not self._closed.is_set():
            self._lost.set()
