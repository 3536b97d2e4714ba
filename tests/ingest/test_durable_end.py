"""What readers see is durable: a power loss takes nothing that was acknowledged or read, and brings up no torn line."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.local_log import LocalLog
from schemas.log import OffsetGoneError
from schemas.topics import EVENTS, LIVE
from tests.support.logs import all_records
from tests.support.lossy_disk import LossyDisk


def open_log(root: Path, disk: LossyDisk) -> LocalLog:
    """Compression is called for: a thread of a process that is dead would go on in a test."""
    return LocalLog(root, partitions=1, segment_bytes=4_000, disk=disk, compress=False)


def test_a_reader_sees_a_record_only_once_it_is_synced(tmp_path: Path) -> None:
    disk = LossyDisk()
    log, reader = open_log(tmp_path, disk), open_log(tmp_path, disk)
    end = log.append(EVENTS, 0, [b"first"])
    assert reader.end(EVENTS, 0) == end
    seen: list[object] = []
    disk.before_sync = lambda: seen.append((reader.end(EVENTS, 0), reader.read(EVENTS, 0, end, 1_000)))
    after = log.append(EVENTS, 0, [b"second"])
    assert seen == [(end, None)]
    assert reader.end(EVENTS, 0) == after
    assert all_records(reader, EVENTS, 0) == [b"first", b"second"]


def test_live_rows_are_seen_at_once_and_never_synced(tmp_path: Path) -> None:
    disk = LossyDisk()
    log = open_log(tmp_path, disk)
    log.append(LIVE, 0, [b"opened"])
    disk.before_sync = lambda: pytest.fail("a live row was synced")
    log.append(LIVE, 0, [b"row"])
    assert all_records(log, LIVE, 0) == [b"opened", b"row"]


@pytest.mark.parametrize("seed", range(40))
def test_a_power_loss_takes_nothing_acknowledged_and_leaves_nothing_torn(tmp_path: Path, seed: int) -> None:
    rng, disk = random.Random(seed), LossyDisk()
    acknowledged: list[bytes] = []
    number = 0
    for _ in range(4):
        log = open_log(tmp_path, disk)
        assert all_records(log, EVENTS, 0)[: len(acknowledged)] == acknowledged
        acknowledged = all_records(log, EVENTS, 0)
        for _ in range(rng.randint(0, 12)):
            records = [b"%d-" % (number + n) + b"x" * rng.randint(0, 600) for n in range(rng.randint(1, 5))]
            number += len(records)
            log.append(EVENTS, 0, records)
            acknowledged += records
        if rng.random() < 0.5:
            log.compress()
        if rng.random() < 0.3:
            die(disk, rng.randint(0, 3), log.compress)
        else:
            lines = [b"%d-" % (number + n) + b"y" * 200_000 for n in range(rng.randint(1, 3))]
            die(disk, 0, lambda log=log, lines=lines: log.append(EVENTS, 0, lines))  # type: ignore[misc]
            number += 3
        disk.lose_power(tmp_path / EVENTS, rng)
    log = open_log(tmp_path, disk)
    records = all_records(log, EVENTS, 0)
    assert records[: len(acknowledged)] == acknowledged
    for record in records:
        filling = record.split(b"-")[1]
        assert filling in (b"x" * len(filling), b"y" * 200_000)


class DownError(BaseException):
    """The machine goes down."""


def die(disk: LossyDisk, syncs: int, work: Callable[[], object]) -> None:
    """Do something, with the machine going down before one of its syncs; it may be done before."""
    left = [syncs]

    def down() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise DownError

    disk.before_sync = down
    with suppress(DownError):
        work()
    disk.before_sync = lambda: None


def die_in_append(log: LocalLog, disk: LossyDisk, records: list[bytes]) -> None:
    die(disk, 0, lambda: log.append(EVENTS, 0, records))


def test_what_was_read_is_at_the_same_offset_after_a_power_loss(tmp_path: Path) -> None:
    disk = LossyDisk()
    log, reader = open_log(tmp_path, disk), open_log(tmp_path, disk)
    end = log.append(EVENTS, 0, [b"a", b"b"])
    assert reader.end(EVENTS, 0) == end
    die_in_append(log, disk, [b"never"])
    chunk = reader.read(EVENTS, 0, 0, 1_000)
    assert chunk is not None
    assert chunk.next_offset == end
    for path in (tmp_path / EVENTS / "0").glob("*.log"):
        path.write_bytes(path.read_bytes()[:-20])
    again = open_log(tmp_path, disk)
    again.append(EVENTS, 0, [b"other"])
    assert all_records(again, EVENTS, 0, offset=end) == [b"other"]


def test_a_whole_append_that_was_not_acknowledged_is_made_durable_before_it_is_read(tmp_path: Path) -> None:
    disk = LossyDisk()
    log = open_log(tmp_path, disk)
    log.append(EVENTS, 0, [b"a"])
    die_in_append(log, disk, [b"whole"])
    again = open_log(tmp_path, disk)
    assert all_records(again, EVENTS, 0) == [b"a", b"whole"]
    disk.lose_power(tmp_path / EVENTS, random.Random(1))
    assert all_records(open_log(tmp_path, disk), EVENTS, 0) == [b"a", b"whole"]


def test_offsets_that_a_failing_disk_lost_are_not_given_to_other_records(tmp_path: Path) -> None:
    log = open_log(tmp_path, LossyDisk())
    end = log.append(EVENTS, 0, [b"kept", b"lost"])
    for path in (tmp_path / EVENTS / "0").glob("*.log"):
        path.write_bytes(b"")
    again = open_log(tmp_path, LossyDisk())
    assert again.append(EVENTS, 0, [b"new"]) == end + 4
    assert all_records(again, EVENTS, 0, offset=end) == [b"new"]


def test_an_offset_behind_the_durable_end_is_none_of_this_logs(tmp_path: Path) -> None:
    log = open_log(tmp_path, LossyDisk())
    end = log.append(EVENTS, 0, [b"a"])
    with pytest.raises(OffsetGoneError, match="is not one of this log's") as gone:
        log.read(EVENTS, 0, end + 1, 1_000)
    assert gone.value.begin == 0


def test_a_published_end_that_is_broken_is_found_again(tmp_path: Path) -> None:
    log = open_log(tmp_path, LossyDisk())
    log.append(EVENTS, 0, [b"a"])
    log.append(EVENTS, 0, [b"b"])
    for broken in (b"", b"\0" * 40, b"x" * 100):
        (tmp_path / EVENTS / "0" / "durable").write_bytes(broken)
        assert all_records(open_log(tmp_path, LossyDisk()), EVENTS, 0) == [b"a", b"b"]
    assert log.append(EVENTS, 0, [b"c"]) == 6
    assert all_records(log, EVENTS, 0) == [b"a", b"b", b"c"]
