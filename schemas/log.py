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


class LogCorruptError(LogUnavailableError):
    """Records were damaged on disk. Whoever reads waits, as for a log that is away, until they are set aside.

    Offsets `offset` to `end` are affected: `size_bytes` from byte `position` on in `path`, so many records (None: their
    number is damaged, too).
    """

    def __init__(
        self, where: str, path: str, *, position: int, size_bytes: int, offset: int, end: int, records: int | None
    ) -> None:
        lost = f"{end - offset} bytes of lines" if records is None else f"{records} records"
        super().__init__(
            f"{where}: {lost} at offset {offset} are damaged ({path}, {size_bytes} bytes from byte {position} on). "
            "Bring the file back from a backup, or run `penstock log repair` to set them aside and go on behind them"
        )
        self.where = where
        self.path = path
        self.position = position
        self.size_bytes = size_bytes
        self.offset = offset
        self.end = end
        self.records = records


class OffsetGoneError(Exception):
    """Records at the offset asked for are not there any more, or never were; `begin` says where to go on.

    Retention removed them, or they were damaged and set aside; `begin` is behind the offset then. An offset behind
    the log's end, or inside a record, is none of this log's: `begin` is where the log starts.
    """

    def __init__(self, topic: str, partition: int, offset: int, begin: int) -> None:
        gone = "was removed by retention or set aside as damaged" if begin > offset else "is not one of this log's"
        super().__init__(f"{topic}/{partition}: offset {offset} {gone}; go on at {begin}")
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

        Only durable records are given: what was read stays, whatever happens to the machine (topic `live` excepted).
        Raises OffsetGoneError, LogUnavailableError (LogCorruptError for damaged records).
        """
        ...

    def begin(self, topic: str, partition: int) -> int:
        """The oldest offset that can be read."""
        ...

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record that readers may see: it is durable."""
        ...

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember that `group` is done with everything before `offset`."""
        ...

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset last committed by `group`; None when it never did."""
        ...

    def close(self) -> None: ...
