"""Following a topic in the background."""

from __future__ import annotations

import asyncio

import pytest

from api.tail import follow, follow_from_begin
from schemas.log import Chunk, OffsetGoneError
from tests.support.memory_log import MemoryLog
from tests.support.until import until


class _Tail:
    """A tail of topic control that gathers records."""

    def __init__(self, log: MemoryLog, offset: int = 0) -> None:
        self.seen: list[bytes] = []
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(follow(log, "control", 0, offset, self.take, self.stop))

    def take(self, chunk: Chunk) -> None:
        self.seen.extend(chunk.records())
        if b"bad" in chunk.records():
            raise ValueError("a handler's own failure")

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 20)


async def test_a_tail_sees_what_is_there_and_what_comes_later() -> None:
    log = MemoryLog()
    log.append("control", 0, [b"a", b"b"])
    tail = _Tail(log)
    await until(lambda: len(tail.seen) == 2)
    log.append("control", 0, [b"c"])
    await until(lambda: len(tail.seen) == 3)
    await tail.end()
    assert tail.seen == [b"a", b"b", b"c"]


async def test_a_tail_goes_on_after_the_log_was_away() -> None:
    log = MemoryLog()
    log.down = True
    tail = _Tail(log)
    log.down = False
    log.append("control", 0, [b"a"])
    await until(lambda: len(tail.seen) == 1)
    await tail.end()
    assert tail.seen == [b"a"]


class _Stumbles(MemoryLog):
    """Fails once in a way that no log should."""

    stumbled = False

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        if not self.stumbled:
            self.stumbled = True
            raise RuntimeError("a defect")
        return super().read(topic, partition, offset, max_bytes, timeout_s)


async def test_a_tail_goes_on_after_a_defect_of_the_log() -> None:
    log = _Stumbles()
    log.append("control", 0, [b"a"])
    tail = _Tail(log)
    await until(lambda: len(tail.seen) == 1)
    await tail.end()
    assert log.stumbled
    assert tail.seen == [b"a"]


async def test_a_tail_goes_on_where_retention_left_the_log() -> None:
    log = MemoryLog()
    kept_from = log.append("control", 0, [b"old"])
    log.append("control", 0, [b"new"])
    log.drop_before("control", 0, kept_from)
    tail = _Tail(log)
    await until(lambda: len(tail.seen) == 1)
    await tail.end()
    assert tail.seen == [b"new"]


async def test_a_handler_that_fails_on_one_chunk_gets_the_next() -> None:
    log = MemoryLog()
    log.append("control", 0, [b"bad"])
    tail = _Tail(log)
    await until(lambda: len(tail.seen) == 1)
    log.append("control", 0, [b"good"])
    await until(lambda: len(tail.seen) == 2)
    await tail.end()
    assert tail.seen == [b"bad", b"good"]


@pytest.mark.parametrize("records", [[], [b"a"], [b"a", b"b"]], ids=["empty", "all_removed_by_retention", "some_left"])
async def test_a_tail_says_when_it_has_seen_what_was_there_at_the_start(records: list[bytes]) -> None:
    log, seen, caught_up, stop = MemoryLog(), list[bytes](), list[int](), asyncio.Event()
    log.append("control", 0, records)
    log.drop_before("control", 0, 2 if records else 0)

    def say() -> None:
        caught_up.append(len(seen))

    task = asyncio.create_task(follow_from_begin(log, "control", lambda c: seen.extend(c.records()), say, stop))
    await until(lambda: caught_up)
    log.append("control", 0, [b"later"])
    await until(lambda: b"later" in seen)
    stop.set()
    await asyncio.wait_for(task, 20)
    assert (caught_up, seen) == ([max(0, len(records) - 1)], [*records[1:], b"later"])


class _Repaired(MemoryLog):
    """The last record was damaged and has been set aside."""

    cut = 0

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        if offset == self.cut:
            raise OffsetGoneError(topic, partition, offset, self.end(topic, partition))
        return super().read(topic, partition, offset, min(max_bytes, self.cut - offset), timeout_s)


async def test_a_tail_has_seen_all_when_the_last_record_was_set_aside() -> None:
    log, seen, caught_up, stop = _Repaired(), list[bytes](), list[int](), asyncio.Event()
    log.cut = log.append("control", 0, [b"good"])
    log.append("control", 0, [b"damaged"])
    task = asyncio.create_task(
        follow_from_begin(log, "control", lambda c: seen.extend(c.records()), lambda: caught_up.append(1), stop)
    )
    await until(lambda: caught_up)
    stop.set()
    await asyncio.wait_for(task, 20)
    assert seen == [b"good"]
