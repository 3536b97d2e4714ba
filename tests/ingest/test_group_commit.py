"""Group commit: appends that wait together are written together, within a bound."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ingest.group_commit import Backlogged, GroupCommit
from schemas.log import LogUnavailableError
from schemas.topics import CONTROL, EVENTS
from tests.support.memory_log import MemoryLog


class SlowLog(MemoryLog):
    """A log whose appends wait until the test lets them through; remembers how many records each one had."""

    def __init__(self) -> None:
        super().__init__(partitions=2)
        self.open = threading.Event()
        self.entered = threading.Event()
        self.appends: list[int] = []

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        self.entered.set()
        assert self.open.wait(10)
        self.appends.append(len(records))
        return super().append(topic, partition, records, keys=keys)


async def test_appends_that_wait_for_one_write_share_the_next() -> None:
    log = SlowLog()
    commits = GroupCommit(log)
    first = commits.submit(EVENTS, 0, [b"first"])
    assert log.entered.wait(10)
    others = [commits.append(EVENTS, 0, [b"%d-a" % n, b"%d-b" % n]) for n in range(50)]
    gathered = asyncio.gather(*others)
    await asyncio.sleep(0)
    log.open.set()
    assert set(await gathered) == {log.end(EVENTS, 0)}
    assert first.result(10) == 6
    assert log.appends == [1, 100]
    assert log.records(EVENTS)[1:] == [b"%d-%s" % (n, part) for n in range(50) for part in (b"a", b"b")]
    commits.close()


async def test_too_much_waiting_is_refused_until_it_is_written() -> None:
    log = SlowLog()
    commits = GroupCommit(log, waiting_bytes_max=100, retry_after_s=2.0)
    waiting = commits.submit(EVENTS, 0, [b"x" * 89])
    with pytest.raises(Backlogged) as refused:
        await commits.append(EVENTS, 1, [b"y" * 10])
    assert (refused.value.waiting_bytes, refused.value.retry_after_s) == (90, 2.0)
    log.open.set()
    waiting.result(10)
    commits.close()
    assert commits.waiting_bytes == 0


async def test_one_batch_above_the_bound_goes_through_alone() -> None:
    commits = GroupCommit(MemoryLog(), waiting_bytes_max=10)
    assert await commits.append(EVENTS, 0, [b"x" * 99]) == 100
    commits.close()


async def test_a_failing_log_fails_those_who_waited_and_nobody_after() -> None:
    log = MemoryLog()
    commits = GroupCommit(log)
    log.down = True
    with pytest.raises(LogUnavailableError):
        await commits.append(EVENTS, 0, [b"lost"])
    log.down = False
    await commits.append(EVENTS, 0, [b"kept"])
    assert log.records(EVENTS) == [b"kept"]
    commits.close()


async def test_a_newline_fails_its_own_sender_only() -> None:
    log = MemoryLog()
    commits = GroupCommit(log)
    outcomes = await asyncio.gather(
        commits.append(EVENTS, 0, [b"good"]), commits.append(EVENTS, 0, [b"b\nad"]), return_exceptions=True
    )
    assert outcomes[0] == 5
    assert isinstance(outcomes[1], ValueError)
    commits.close()


async def test_a_group_ends_at_its_size_and_where_keys_begin() -> None:
    log = SlowLog()
    commits = GroupCommit(log, append_bytes_max=10)
    futures = [commits.submit(CONTROL, 0, [b"a"])]
    assert log.entered.wait(10)
    futures += [commits.submit(CONTROL, 0, [b"bbbb"]), commits.submit(CONTROL, 0, [b"cccc"])]
    futures += [commits.submit(CONTROL, 0, [b"dddd"]), commits.submit(CONTROL, 0, [b"e"], keys=["k"])]
    log.open.set()
    for future in futures:
        future.result(10)
    assert log.appends == [1, 2, 1, 1]
    assert log.keys[CONTROL] == ["k"]
    commits.close()


async def test_closing_writes_what_waits() -> None:
    log = SlowLog()
    commits = GroupCommit(log)
    futures = [commits.submit(EVENTS, n % 2, [b"%d" % n]) for n in range(10)]
    threading.Timer(0.0, log.open.set).start()
    commits.close()
    assert all(future.done() for future in futures)
    assert sorted(log.records(EVENTS, 0) + log.records(EVENTS, 1)) == [b"%d" % n for n in range(10)]


async def test_a_sender_that_gave_up_does_not_disturb_the_others() -> None:
    log = SlowLog()
    commits = GroupCommit(log)
    commits.submit(EVENTS, 0, [b"first"])
    assert log.entered.wait(10)
    gone = asyncio.create_task(commits.append(EVENTS, 0, [b"gone"]))
    stays = asyncio.create_task(commits.append(EVENTS, 0, [b"stays"]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    log.open.set()
    assert await stays == 17
    commits.close()


async def test_one_owners_backlog_neither_fills_the_room_nor_goes_before_another_owners_append() -> None:
    log = SlowLog()
    commits = GroupCommit(log, waiting_bytes_max=1_000, append_bytes_max=100)
    futures = [commits.submit(EVENTS, 0, [b"f" * 99], owner="flood")]
    assert log.entered.wait(10)
    futures += [commits.submit(EVENTS, 0, [b"f" * 99], owner="flood") for _ in range(4)]
    with pytest.raises(Backlogged):
        commits.submit(EVENTS, 0, [b"f" * 99], owner="flood")
    other = commits.submit(EVENTS, 0, [b"other"], owner="other")
    log.open.set()
    for future in [*futures, other]:
        future.result(10)
    # The append under way, one of the flood's that was next, then the other's.
    assert log.records(EVENTS).index(b"other") <= 2
    commits.close()
    assert commits.waiting_bytes == 0
