"""Damage on disk is told with its place, never read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ingest.local_log import LocalLog
from ingest.local_log.blocks import HEADER_BYTES
from schemas.log import LogCorruptError, LogUnavailableError
from schemas.topics import CONTROL, EVENTS
from tests.support.logs import all_records
from tests.support.lossy_disk import flip_bit

RECORD = b'{"type":"click","cost_micros":1000000}'


@pytest.fixture
def log(tmp_path: Path) -> LocalLog:
    return LocalLog(tmp_path, partitions=1, segment_bytes=2_000, fsync=False, compress=False)


def segment(root: Path, place: int = 0, topic: str = EVENTS) -> Path:
    return sorted((root / topic / "0").glob("*.log"))[place]


def fill(log: LocalLog, batches: int, *, topic: str = EVENTS) -> list[bytes]:
    """Batches of two records: 126 bytes of a file, 78 offsets each."""
    for _ in range(batches):
        log.append(topic, 0, [RECORD, RECORD])
    return [RECORD] * 2 * batches


def test_a_flipped_digit_is_told_with_its_place_and_what_it_affects(tmp_path: Path, log: LocalLog) -> None:
    fill(log, 3)
    path = segment(tmp_path)
    flip_bit(path, path.read_bytes().index(b"1000000", 126 + HEADER_BYTES))
    with pytest.raises(LogCorruptError, match=r"events/0: 2 records at offset 78 .*penstock log repair") as found:
        all_records(log, EVENTS, 0)
    damage = found.value
    assert (damage.path, damage.position, damage.size_bytes) == (str(path), 126, 126)
    assert (damage.offset, damage.end, damage.records) == (78, 156, 2)
    assert isinstance(damage, LogUnavailableError), "so that every consumer waits and says why"


def test_what_is_before_and_behind_the_damage_can_be_read(tmp_path: Path, log: LocalLog) -> None:
    fill(log, 3)
    flip_bit(segment(tmp_path), 130)
    assert all_records(log, EVENTS, 0, offset=156) == [RECORD] * 2
    chunk = log.read(EVENTS, 0, 0, 1_000)
    assert chunk is not None
    assert chunk.next_offset == 78


@pytest.mark.parametrize("batch", range(4))
@pytest.mark.parametrize("kind", ["header", "lines", "zero page", "half"])
def test_no_damage_is_read_wherever_it_is(tmp_path: Path, log: LocalLog, batch: int, kind: str) -> None:
    fill(log, 4)
    content = bytearray(segment(tmp_path).read_bytes())
    start = 126 * batch
    if kind == "header":
        content[start + 9] ^= 4
    elif kind == "lines":
        content[start + 100] ^= 4
    elif kind == "zero page":
        content[start : start + 126] = bytes(126)
    else:
        content[start + 60 : start + 126] = bytes(66)
    segment(tmp_path).write_bytes(content)
    other = LocalLog(tmp_path, partitions=1)
    for offset in range(0, 4 * 78, 39):
        if offset // 78 == batch:
            with pytest.raises(LogCorruptError):
                other.read(EVENTS, 0, offset, 39)
        else:
            chunk = other.read(EVENTS, 0, offset, 39)
            assert chunk is not None
            assert chunk.records() == [RECORD]


@pytest.mark.parametrize("seed", range(60))
def test_one_flipped_bit_anywhere_is_never_read_silently(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    log = LocalLog(tmp_path, partitions=1, segment_bytes=2_000, fsync=False, compress=False)
    written = [b"%d" % rng.getrandbits(rng.randint(1, 4_000)) for _ in range(30)]
    for first in range(0, 30, 3):
        log.append(EVENTS, 0, written[first : first + 3])
    path = rng.choice(sorted((tmp_path / EVENTS / "0").glob("*.log")))
    flip_bit(path, rng.randrange(path.stat().st_size))
    with pytest.raises(LogCorruptError):
        all_records(LocalLog(tmp_path, partitions=1), EVENTS, 0)


def test_appends_go_on_behind_damage(tmp_path: Path, log: LocalLog) -> None:
    fill(log, 2)
    flip_bit(segment(tmp_path), 130)
    other = LocalLog(tmp_path, partitions=1)
    other.append(EVENTS, 0, [b"new"])
    assert all_records(other, EVENTS, 0, offset=156) == [b"new"]


def test_a_damaged_topic_is_not_compacted(tmp_path: Path, log: LocalLog) -> None:
    fill(log, 3, topic=CONTROL)
    flip_bit(segment(tmp_path, topic=CONTROL), 130)
    with pytest.raises(LogCorruptError):
        log.compact(CONTROL)
    assert all_records(log, CONTROL, 0, offset=156) == [RECORD] * 2


def test_a_log_of_format_1_is_read_and_continued(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"format":1,"partitions":1}')
    folder = tmp_path / EVENTS / "0"
    folder.mkdir(parents=True)
    (folder / f"{0:020d}.ndjson").write_bytes(b"one\ntwo\n")
    (folder / f"{8:020d}.ndjson").write_bytes(b"three\ntorn")
    log = LocalLog(tmp_path, partitions=1)
    assert log.end(EVENTS, 0) == 14
    assert log.append(EVENTS, 0, [b"four"]) == 19
    again = LocalLog(tmp_path, partitions=1)
    assert all_records(again, EVENTS, 0) == [b"one", b"two", b"three", b"four"]
    chunk = again.read(EVENTS, 0, 4, 100)
    assert chunk is not None
    assert chunk.payload == b"two\n"
    assert json.loads((tmp_path / "meta.json").read_text())["format"] == 2


def test_a_log_of_a_later_format_is_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"format":9,"partitions":1}')
    with pytest.raises(ValueError, match=r"format 9 .* newer Penstock"):
        LocalLog(tmp_path, partitions=1)


def test_only_the_owner_may_read_the_log_and_older_files_are_tightened(tmp_path: Path) -> None:
    LocalLog(tmp_path / "log", partitions=1).append(EVENTS, 0, [b"x"])
    tree = [tmp_path / "log", *(tmp_path / "log").rglob("*")]
    for path in tree:
        path.chmod(0o755 if path.is_dir() else 0o644)
    LocalLog(tmp_path / "log", partitions=1).commit("g", EVENTS, 0, 2)
    tree = [tmp_path / "log", *(tmp_path / "log").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in tree if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in tree if path.is_file()} == {0o600}


def test_a_group_offset_that_is_damaged_is_told_with_the_mend(tmp_path: Path, log: LocalLog) -> None:
    log.commit("store", EVENTS, 0, 0)
    (tmp_path / ".groups" / "store" / f"{EVENTS}@0").write_bytes(b"\0" * 8)
    with pytest.raises(LogUnavailableError, match=r"store.*remove"):
        log.committed("store", EVENTS, 0)
