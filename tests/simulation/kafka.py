"""A broker in memory behind `schemas.log.Log`: offsets with gaps, answers that get lost, consumers that have nothing
yet. `ingest.kafka_log` itself is a C library's and is not simulated; what the log promises is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import numpy as np

from schemas.log import Chunk, LogUnavailableError, OffsetGoneError
from schemas.topics import COMPACTED, PARTITIONED_LIKE_EVENTS
from tests.simulation.clock import SimClock
from tests.simulation.network import Link, UnreachableError

Answer = TypeVar("Answer")


@dataclass
class _Partition:
    begin: int = 0
    end: int = 0
    offsets: list[int] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


class Broker:
    """What is durable: a power loss here does not reach it, as its replicas stand elsewhere."""

    def __init__(self, partitions: int, rng: Random) -> None:
        self.count = partitions
        self._rng = rng
        self.partitions: dict[tuple[str, int], _Partition] = {}
        self.committed: dict[tuple[str, str, int], int] = {}

    def at(self, topic: str, partition: int) -> _Partition:
        return self.partitions.setdefault((topic, partition), _Partition())

    def append(self, topic: str, partition: int, records: Sequence[bytes], keys: Sequence[str] | None) -> int:
        there = self.at(topic, partition)
        for place, record in enumerate(records):
            # A transaction's mark takes an offset, too.
            there.end += 1 if self._rng.random() < 0.02 else 0
            there.offsets.append(there.end)
            there.records.append(record)
            there.keys.append(keys[place] if keys else "")
            there.end += 1
        return there.end

    def compact(self) -> None:
        """Of each key of a compacted topic only the last record stays, at its offset."""
        for topic in COMPACTED:
            self._compact(self.at(topic, 0))

    @staticmethod
    def _compact(there: _Partition) -> None:
        last = {key: place for place, key in enumerate(there.keys)}
        kept = sorted(last.values())
        there.offsets = [there.offsets[place] for place in kept]
        there.records = [there.records[place] for place in kept]
        there.keys = [there.keys[place] for place in kept]

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Retention: nothing before this offset is left."""
        there = self.at(topic, partition)
        place = bisect_left(there.offsets, before)
        del there.offsets[:place], there.records[:place], there.keys[:place]
        there.begin = max(there.begin, min(before, there.end))


class KafkaClient:
    """One process's connection: `schemas.log.Log`."""

    def __init__(self, broker: Broker, link: Link, clock: SimClock, rng: Random) -> None:
        self._broker = broker
        self._clock = clock
        self._link = link
        self._rng = rng
        # A consumer's first look at a partition finds nothing fetched yet.
        self._fetched: set[tuple[str, int]] = set()

    def partitions(self, topic: str) -> int:
        return self._broker.count if topic in PARTITIONED_LIKE_EVENTS else 1

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        return self._call(lambda: self._broker.append(topic, partition, records, keys))

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        there = self._broker.at(topic, partition)
        if offset < there.begin or offset > there.end:
            raise OffsetGoneError(topic, partition, offset, there.begin)
        if (topic, partition) not in self._fetched and timeout_s == 0.0:
            self._fetched.add((topic, partition))
            return None
        if self._link.cut:
            self._clock.wait(round(1_000 * timeout_s))
            return None
        if timeout_s == 0.0 and self._rng.random() < 0.05:
            return None
        first = bisect_left(there.offsets, offset)
        last, size = first, 0
        while last < len(there.records) and (last == first or size + len(there.records[last]) <= max_bytes):
            size += len(there.records[last])
            last += 1
        if last == first:
            return None
        payload = b"".join(record + b"\n" for record in there.records[first:last])
        offsets = np.array(there.offsets[first:last], np.int64)
        return Chunk(topic, partition, payload, int(offsets[0]), int(offsets[-1]) + 1, offsets)

    def begin(self, topic: str, partition: int) -> int:
        return self._call(lambda: self._broker.at(topic, partition).begin)

    def end(self, topic: str, partition: int) -> int:
        return self._call(lambda: self._broker.at(topic, partition).end)

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        self._call(lambda: self._broker.committed.__setitem__((group, topic, partition), offset))

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        return self._call(lambda: self._broker.committed.get((group, topic, partition)))

    def identity(self) -> str:
        return "kafka/simulated"

    def upkeep(self) -> None:
        """The broker's own business."""

    def close(self) -> None:
        """Nothing to close."""

    def _call(self, work: Callable[[], Answer]) -> Answer:
        try:
            return self._link.call(work)
        except UnreachableError as error:
            raise LogUnavailableError(f"the broker: {error}") from error
