"""A log in memory, for tests of parts that only need `schemas.log.Log`: offsets are byte positions, as in LocalLog."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Final

from schemas import topics
from schemas.log import Chunk, LogUnavailableError, OffsetGoneError


class MemoryLog:
    """Implements `schemas.log.Log`. `down` makes it unavailable; `drop_before` plays retention."""

    def __init__(self, partitions: int = 1) -> None:
        self._partitions: Final = partitions
        self._bytes: dict[tuple[str, int], bytearray] = {}
        self._begin: dict[tuple[str, int], int] = {}
        self._committed: dict[tuple[str, str, int], int] = {}
        self._changed = threading.Condition()
        self.keys: dict[str, list[str]] = {}
        self.down = False
        self._identity: Final = uuid.uuid4().hex

    def identity(self) -> str:
        return self._identity

    def partitions(self, topic: str) -> int:
        return self._partitions if topic in topics.PARTITIONED_LIKE_EVENTS else 1

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        self._must_be_up()
        if any(b"\n" in record for record in records):
            raise ValueError("a record holds a newline")
        with self._changed:
            log = self._bytes.setdefault((topic, partition), bytearray())
            for record in records:
                log += record + b"\n"
            self.keys.setdefault(topic, []).extend(keys or [])
            self._changed.notify_all()
            return len(log)

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        self._must_be_up()
        with self._changed:
            self._changed.wait_for(lambda: self.end(topic, partition) > offset, timeout_s)
            begin = self.begin(topic, partition)
            if offset < begin:
                raise OffsetGoneError(topic, partition, offset, begin)
            log = self._bytes.get((topic, partition), bytearray())
            if offset >= len(log):
                return None
            # Whole records: up to the last that ends within max_bytes, at least one.
            end = log.rfind(b"\n", offset, offset + max_bytes) + 1 or log.find(b"\n", offset) + 1
            return Chunk(topic, partition, bytes(log[offset:end]), offset, end)

    def begin(self, topic: str, partition: int) -> int:
        return self._begin.get((topic, partition), 0)

    def end(self, topic: str, partition: int) -> int:
        self._must_be_up()
        return len(self._bytes.get((topic, partition), b""))

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        self._committed[group, topic, partition] = offset

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        return self._committed.get((group, topic, partition))

    def close(self) -> None:
        """Nothing to close."""

    def records(self, topic: str, partition: int = 0) -> list[bytes]:
        """Every record of a partition, whatever retention dropped included."""
        return bytes(self._bytes.get((topic, partition), b"")).split(b"\n")[:-1]

    def cut(self, topic: str, partition: int, end: int = 0) -> None:
        """Lose what is behind an offset, as an older copy of the log would have."""
        del self._bytes[topic, partition][end:]

    def spoil(self, topic: str, partition: int) -> None:
        """Turn the last record into zeros."""
        log = self._bytes[topic, partition]
        begin = log.rfind(b"\n", 0, len(log) - 1) + 1
        log[begin : len(log) - 1] = bytes(len(log) - 1 - begin)

    def drop_before(self, topic: str, partition: int, offset: int) -> None:
        """Let retention remove what is before `offset`."""
        self._begin[topic, partition] = offset

    def _must_be_up(self) -> None:
        if self.down:
            raise LogUnavailableError("the memory log was told to be down")
