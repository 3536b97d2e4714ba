"""The event log as every part sees it: partitions of records in order, read from an offset, appended durably.

Implemented by `ingest.local_log.LocalLog` (files) and `ingest.kafka_log.KafkaLog`; one contract suite tests both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class LogUnavailableError(Exception):
    """The log cannot take or give records now (broker down, disk full); the message says what to do."""


class OffsetGoneError(Exception):
    """The offset asked for was removed by retention; `begin` says where the log starts now."""

    def __init__(self, topic: str, partition: int, offset: int, begin: int) -> None:
        super().__init__(f"{topic}/{partition}: offset {offset} was removed by retention; the log starts at {begin}")
        self.begin = begin


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive records of one partition.

    `payload` holds whole records, each ended by one newline, no newline inside a record. `offsets` has one log offset
    a record; None says that offsets are byte positions: `first_offset` plus the place of the record in `payload`.
    """

    topic: str
    partition: int
    payload: bytes
    first_offset: int
    next_offset: int
    offsets: NDArray[np.int64] | None = None

    def records(self) -> list[bytes]:
        """The records, without their newlines."""
        return self.payload.split(b"\n")[:-1]


class Log(Protocol):
    """Append and read records. Safe to use from several threads; several processes may append to one partition."""

    def identity(self) -> str:
        """Which log this is: made once with it, the same for everybody who opens it, never that of another log."""
        ...

    def partitions(self, topic: str) -> int:
        """Number of partitions of a topic."""
        ...

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        """Append records in order and return the offset behind the last, once they are durable.

        Durable: on disk after fsync, or acknowledged by all in-sync replicas; topic `live` is only written.
        `keys`, one a record, are Kafka message keys: needed on compacted topics, where the last record of a key wins.

        Raises LogUnavailableError: then none of the records counts as taken, though some may be there.
        """
        ...

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        """Records from `offset` on, at most about max_bytes (at least one record); None when there is none in time.

        Raises OffsetGoneError, LogUnavailableError.
        """
        ...

    def begin(self, topic: str, partition: int) -> int:
        """The oldest offset that can be read."""
        ...

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last whole record."""
        ...

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember that `group` is done with everything before `offset`."""
        ...

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset last committed by `group`; None when it never did."""
        ...

    def close(self) -> None: ...
