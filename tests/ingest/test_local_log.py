"""The log as files: what a crash, a full disk, retention and compaction leave behind."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.local_log import LocalLog
from ingest.local_log.blocks import HEADER_BYTES, cut, encode_append
from ingest.local_log.log import LIVE_RETENTION_MS
from schemas.log import LogUnavailableError, OffsetGoneError
from schemas.topics import COMPACTED, CONTROL, CORRECTIONS, DECISIONS, EVENTS, LIVE
from tests.support.logs import LogPlace, all_records, start_appender

SEGMENT_BYTES = 1_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LocalLog]:
    opened = small_log(tmp_path)
    yield opened
    opened.close()


def small_log(root: Path, **options: int) -> LocalLog:
    return LocalLog(root, partitions=2, segment_bytes=SEGMENT_BYTES, fsync=False, compress=False, **options)


def segments(root: Path, topic: str, partition: int = 0) -> list[Path]:
    return sorted((root / topic / str(partition)).glob("*.*log"))


def fill(log: LocalLog, topic: str, count: int, *, first: int = 0) -> list[bytes]:
    """Records of 100 bytes, each appended alone: eleven to a segment."""
    records = [b"%099d" % number for number in range(first, first + count)]
    for record in records:
        log.append(topic, 0, [record])
    return records


def test_an_offset_is_a_byte_position(log: LocalLog) -> None:
    assert log.append(EVENTS, 0, [b"four", b"sixsix"]) == 12
    chunk = log.read(EVENTS, 0, 5, 100)
    assert chunk is not None
    assert (chunk.offsets, chunk.first_offset, chunk.next_offset, chunk.payload) == (None, 5, 12, b"sixsix\n")


def test_a_segment_is_named_by_its_first_offset_and_holds_blocks_of_plain_lines(tmp_path: Path, log: LocalLog) -> None:
    records = fill(log, EVENTS, 25)
    paths = segments(tmp_path, EVENTS)
    assert [int(path.stem) for path in paths] == [0, 1_000, 2_000]
    content = b"".join(path.read_bytes() for path in paths)
    blocks = [content[place + HEADER_BYTES : place + HEADER_BYTES + 100] for place in range(0, len(content), 148)]
    assert blocks == [record + b"\n" for record in records]


def test_a_torn_last_line_is_never_read_and_cut_before_the_next_append(tmp_path: Path, log: LocalLog) -> None:
    end = log.append(EVENTS, 0, [b"whole"])
    with segments(tmp_path, EVENTS)[0].open("ab") as file:
        file.write(b"torn")
    assert log.end(EVENTS, 0) == end
    assert log.read(EVENTS, 0, end, 100) is None
    log.append(EVENTS, 0, [b"next"])
    assert all_records(log, EVENTS, 0) == [b"whole", b"next"]


def test_a_torn_first_line_leaves_an_empty_log(tmp_path: Path, log: LocalLog) -> None:
    assert log.end(EVENTS, 0) == 0
    (tmp_path / EVENTS / "0" / f"{0:020d}.log").write_bytes(b"t" * 100_000)
    assert log.end(EVENTS, 0) == 0
    log.append(EVENTS, 0, [b"first"])
    assert all_records(log, EVENTS, 0) == [b"first"]


def test_an_offset_inside_a_record_is_refused(log: LocalLog) -> None:
    log.append(EVENTS, 0, [b"four", b"more"])
    with pytest.raises(OffsetGoneError):
        log.read(EVENTS, 0, 3, 100)


def test_lines_that_another_process_has_not_published_are_not_seen(tmp_path: Path, log: LocalLog) -> None:
    end = log.append(EVENTS, 0, [b"start"])
    assert log.end(EVENTS, 0) == end
    line = b"x" * 300 + b"\n"
    with segments(tmp_path, EVENTS)[0].open("ab", buffering=0) as file:
        for byte in encode_append(line, cut(line), end, 0):
            file.write(bytes([byte]))
            assert log.read(EVENTS, 0, end, 100) is None
    assert all_records(small_log(tmp_path), EVENTS, 0) == [b"start", b"x" * 300]


@pytest.mark.parametrize("taken_bytes", [0, 1, 48, 54, 60])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing_of_the_append(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch, taken_bytes: int
) -> None:
    log.append(EVENTS, 0, [b"before"])
    real_write = os.write
    written: list[int] = []

    def full_disk(fd: int, content: bytes) -> int:
        if sum(written) >= taken_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(real_write(fd, bytes(content[:taken_bytes])))
        return written[-1]

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(LogUnavailableError, match=r"No space left on device.*free space"):
        log.append(EVENTS, 0, [b"first", b"second"])
    monkeypatch.undo()
    log.append(EVENTS, 0, [b"after"])
    assert all_records(log, EVENTS, 0) == [b"before", b"after"]


def test_a_file_size_limit_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    place = LogPlace("local", str(tmp_path))
    appender = start_appender(place, EVENTS, 0, name="a", batches=1_000, size=9, file_bytes_max=2_500)
    acknowledged, message = appender.communicate(timeout=30)
    assert appender.returncode == 3
    assert "File too large" in message
    log = place.open()
    records = all_records(log, EVENTS, 0)
    log.append(EVENTS, 0, [b"after"])
    assert all_records(log, EVENTS, 0) == [*records, b"after"]
    log.close()
    assert len(records) >= 9 * len(acknowledged.splitlines()) > 0
    assert records == [b"a-%d-%d" % divmod(number, 9) for number in range(len(records))]


def test_another_number_of_partitions_is_refused_with_the_mend(tmp_path: Path, log: LocalLog) -> None:
    with pytest.raises(ValueError, match=r"made with 2 partitions .* set PENSTOCK_PARTITIONS=2"):
        LocalLog(tmp_path, partitions=3)


@pytest.mark.parametrize(("topic", "partition"), [(EVENTS, 2), (EVENTS, -1), (DECISIONS, 1), ("../events", 0), ("", 0)])
def test_a_partition_that_is_not_there_is_refused(log: LocalLog, topic: str, partition: int) -> None:
    with pytest.raises(ValueError, match=r"topic name|partitions"):
        log.append(topic, partition, [b"x"])


def test_two_openings_roll_segments_under_each_other(tmp_path: Path, log: LocalLog) -> None:
    other = small_log(tmp_path)
    expected = []
    for first in range(0, 100, 2):
        expected += fill(log, EVENTS, 1, first=first) + fill(other, EVENTS, 1, first=first + 1)
    assert len(segments(tmp_path, EVENTS)) == 10
    assert all_records(log, EVENTS, 0) == all_records(other, EVENTS, 0) == expected
    other.close()


def test_a_reader_follows_while_segments_roll(log: LocalLog) -> None:
    appender = threading.Thread(target=fill, args=(log, EVENTS, 500))
    appender.start()
    offset, seen = 0, []
    while len(seen) < 500:
        chunk = log.read(EVENTS, 0, offset, 350, timeout_s=10.0)
        assert chunk is not None
        seen += chunk.records()
        offset = chunk.next_offset
    appender.join()
    assert seen == [b"%099d" % number for number in range(500)]


def test_retention_by_size_drops_the_oldest_and_never_the_active_segment(tmp_path: Path, log: LocalLog) -> None:
    fill(log, EVENTS, 45)
    trimmed = small_log(tmp_path, retention_bytes=3_500)
    assert trimmed.enforce_retention(now_ms=0) == 2
    assert (log.begin(EVENTS, 0), log.end(EVENTS, 0)) == (2_000, 4_500)
    with pytest.raises(OffsetGoneError) as gone:
        log.read(EVENTS, 0, 500, 100)
    assert gone.value.begin == 2_000
    assert small_log(tmp_path, retention_bytes=1).enforce_retention(now_ms=0) == 2
    assert len(segments(tmp_path, EVENTS)) == 1
    trimmed.close()


def test_retention_by_age_drops_what_was_last_written_before(tmp_path: Path, log: LocalLog) -> None:
    fill(log, EVENTS, 45)
    now_ms = 1_700_000_000_000
    for age_days, path in zip((9, 8, 6, 5, 30), segments(tmp_path, EVENTS), strict=True):
        written_s = (now_ms - age_days * 86_400_000) / 1_000
        os.utime(path, (written_s, written_s))
    assert small_log(tmp_path, retention_ms=7 * 86_400_000).enforce_retention(now_ms) == 2
    assert log.begin(EVENTS, 0) == 2_000


def test_retention_leaves_no_gap_when_a_clock_went_back(tmp_path: Path, log: LocalLog) -> None:
    fill(log, EVENTS, 45)
    now_ms = 1_700_000_000_000
    for age_days, path in zip((9, 1, 9, 1, 0), segments(tmp_path, EVENTS), strict=True):
        written_s = (now_ms - age_days * 86_400_000) / 1_000
        os.utime(path, (written_s, written_s))
    assert small_log(tmp_path, retention_ms=7 * 86_400_000).enforce_retention(now_ms) == 1
    assert [int(path.stem) for path in segments(tmp_path, EVENTS)] == [1_000, 2_000, 3_000, 4_000]


def test_retention_keeps_campaign_definitions_for_ever_and_live_rows_for_minutes(tmp_path: Path, log: LocalLog) -> None:
    fill(log, CONTROL, 45)
    fill(log, LIVE, 45)
    newest_ms = max(path.stat().st_mtime_ns for path in segments(tmp_path, LIVE)) // 1_000_000
    small_log(tmp_path, retention_ms=1, retention_bytes=1).enforce_retention(newest_ms + LIVE_RETENTION_MS + 60_000)
    assert (log.begin(CONTROL, 0), log.begin(LIVE, 0)) == (0, 4_000)


def test_corrections_are_kept_for_90_days_at_least(tmp_path: Path, log: LocalLog) -> None:
    for topic in (EVENTS, CORRECTIONS):
        fill(log, topic, 45)
    newest_ms = max(path.stat().st_mtime_ns for path in segments(tmp_path, CORRECTIONS)) // 1_000_000
    small = small_log(tmp_path, retention_ms=7 * 86_400_000)
    small.enforce_retention(newest_ms + 89 * 86_400_000)
    assert (log.begin(EVENTS, 0), log.begin(CORRECTIONS, 0)) == (4_000, 0)
    small.enforce_retention(newest_ms + 91 * 86_400_000)
    assert log.begin(CORRECTIONS, 0) == 4_000


def test_beginning_a_segment_enforces_retention(tmp_path: Path) -> None:
    log = small_log(tmp_path, retention_bytes=2_000)
    fill(log, EVENTS, 100)
    assert len(segments(tmp_path, EVENTS)) <= 3
    assert log.end(EVENTS, 0) == 10_000
    log.close()


def keyed(key: str, version: int) -> bytes:
    return json.dumps({"key": key, "version": version}).encode()


def test_compaction_keeps_the_last_record_of_each_key_behind_the_old_end(tmp_path: Path, log: LocalLog) -> None:
    for version in range(30):
        log.append(CONTROL, 0, [keyed(f"k{version % 3}", version), b"no key %d" % (version // 29)])
    other = small_log(tmp_path)
    end = other.end(CONTROL, 0)
    assert log.compact(CONTROL) == end
    kept = all_records(log, CONTROL, 0)
    assert [record for record in kept if record.startswith(b"{")] == [keyed(f"k{n % 3}", n) for n in (27, 28, 29)]
    assert len(segments(tmp_path, CONTROL)) == 1
    other.append(CONTROL, 0, [keyed("k0", 30)])
    assert all_records(log, CONTROL, 0) == [*kept, keyed("k0", 30)]
    with pytest.raises(OffsetGoneError) as gone:
        other.read(CONTROL, 0, 0, 100)
    assert gone.value.begin == end
    other.close()


def test_a_reader_at_the_end_sees_compacted_records_again_and_then_new_ones(tmp_path: Path, log: LocalLog) -> None:
    end = log.append(CONTROL, 0, [keyed("a", 1), keyed("a", 2)])
    reader = small_log(tmp_path)
    assert reader.read(CONTROL, 0, end, 1_000) is None
    log.compact(CONTROL)
    log.append(CONTROL, 0, [keyed("b", 3)])
    assert all_records(reader, CONTROL, 0, offset=end) == [keyed("a", 2), keyed("b", 3)]
    reader.close()


@pytest.mark.parametrize("topic", COMPACTED)
def test_a_compacted_topic_that_grows_compacts_itself(tmp_path: Path, topic: str) -> None:
    log = small_log(tmp_path, compact_bytes=2_000)
    for version in range(1_000):
        log.append(topic, 0, [keyed(f"k{version % 3}", version)])
    assert log.end(topic, 0) - log.begin(topic, 0) < 2_500
    latest = {json.loads(record)["key"]: json.loads(record)["version"] for record in all_records(log, topic, 0)}
    assert latest == {"k0": 999, "k1": 997, "k2": 998}
    log.close()


def test_polling_at_the_end_lists_no_folder(log: LocalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    end = log.append(EVENTS, 0, [b"x"])
    assert log.read(EVENTS, 0, end, 100) is None

    def listing(*_: object) -> list[str]:
        raise AssertionError("a poll listed a folder")

    monkeypatch.setattr(os, "listdir", listing)
    monkeypatch.setattr(os, "scandir", listing)
    assert log.read(EVENTS, 0, end, 100, timeout_s=0.02) is None


@given(
    batches=st.lists(st.lists(st.binary(max_size=40).filter(lambda r: b"\n" not in r), min_size=1), max_size=8),
    segment_bytes=st.integers(1, 200),
    max_bytes=st.integers(1, 300),
)
def test_what_is_read_is_what_was_appended_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], segment_bytes: int, max_bytes: int
) -> None:
    log = LocalLog(tmp_path_factory.mktemp("law"), partitions=1, segment_bytes=segment_bytes, fsync=False)
    offset, seen = 0, []
    for batch in batches:
        log.append(EVENTS, 0, batch)
    while (chunk := log.read(EVENTS, 0, offset, max_bytes)) is not None:
        assert chunk.first_offset == offset
        seen += chunk.records()
        offset = chunk.next_offset
    assert offset == log.end(EVENTS, 0)
    assert seen == [record for batch in batches for record in batch]
    log.close()
