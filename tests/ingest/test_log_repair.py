"""Damage is found by `penstock log check` and set aside by `penstock log repair`; then readers go on and count."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from ingest.local_log import LocalLog
from schemas.log import OffsetGoneError
from schemas.topics import EVENTS
from storage.store.feed import Tail
from tests.support.logs import all_records
from tests.support.lossy_disk import flip_bit

BATCHES = 20


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLog:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PENSTOCK_PARTITIONS", "1")
    made = LocalLog(tmp_path / "log", partitions=1, segment_bytes=500, fsync=False, compress=False)
    for number in range(BATCHES):
        made.append(EVENTS, 0, batch(number))
    return made


def batch(number: int) -> list[bytes]:
    return [b"%02d-%d" % (number, place) + b"x" * 45 for place in range(2)]


def all_but(*gone: int) -> list[bytes]:
    return [record for number in range(BATCHES) if number not in gone for record in batch(number)]


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["log", *arguments])
    return found.exit_code, found.output


def damage(log: LocalLog, *places: tuple[int, int]) -> None:
    """Flip a bit in the lines of batches of segments: 148 bytes a batch, five batches a segment."""
    paths = sorted((log.root / EVENTS / "0").glob("*.log"))
    for segment, number in places:
        flip_bit(paths[segment], 148 * number + 60)


def read_over_gaps(log: LocalLog) -> list[bytes]:
    at, found = 0, []
    while at < log.end(EVENTS, 0):
        try:
            chunk = log.read(EVENTS, 0, at, 120)
        except OffsetGoneError as gone:
            at = max(at + 1, gone.begin)
            continue
        assert chunk is not None
        found += chunk.records()
        at = chunk.next_offset
    return found


def test_check_finds_nothing_in_a_sound_log(log: LocalLog) -> None:
    code, told = run("check")
    assert (code, told.splitlines()) == (0, ["2000 bytes of lines checked, 0 damaged places"])


def test_check_lists_every_damage_with_its_place_and_size(log: LocalLog) -> None:
    damage(log, (0, 2), (3, 4))
    code, told = run("check")
    assert code == 1
    assert "events/0: offsets 200 to 300 (2 records) are damaged" in told
    assert "events/0: offsets 1900 to 2000 (2 records) are damaged" in told
    assert "penstock log repair" in told


@pytest.mark.parametrize("place", [(0, 0), (0, 4), (1, 2), (3, 0), (3, 4)])
def test_after_a_repair_readers_go_on_behind_the_damage(log: LocalLog, place: tuple[int, int]) -> None:
    damage(log, place)
    code, told = run("repair")
    assert code == 0, told
    assert "1 damaged places set aside" in told
    number = 5 * place[0] + place[1]
    expected = all_but(number)
    assert read_over_gaps(log) == expected
    assert run("check")[0] == 0
    (kept,) = (log.root / ".quarantine").iterdir()
    assert kept.stat().st_size == 148
    log.append(EVENTS, 0, [b"after"])
    assert read_over_gaps(log) == [*expected, b"after"]


def test_a_damaged_header_and_missing_bytes_are_set_aside_too(log: LocalLog) -> None:
    paths = sorted((log.root / EVENTS / "0").glob("*.log"))
    flip_bit(paths[0], 148 + 5)
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    assert run("repair")[0] == 0
    assert read_over_gaps(log) == all_but(1, 8, 9)


def test_the_store_counts_what_was_set_aside_as_lost(log: LocalLog) -> None:
    damage(log, (0, 0))
    run("repair")
    tail = Tail(log, EVENTS, 0, start=0)
    assert tail.read(1_000) is None
    assert (tail.position, tail.lost) == (100, True)
    assert tail.read(1_000) is not None


def test_records_are_printed_as_lines(log: LocalLog) -> None:
    assert run("cat", EVENTS, "--offset", "50", "--records", "2")[1].split() == [
        batch(0)[1].decode(),
        batch(1)[0].decode(),
    ]


def test_compression_keeps_every_offset_and_is_smaller(log: LocalLog) -> None:
    records = all_records(log, EVENTS, 0)
    begin_size = sum(path.stat().st_size for path in (log.root / EVENTS / "0").glob("*.*log"))
    assert log.compress() == 3
    assert log.compress() == 0
    assert sum(path.stat().st_size for path in (log.root / EVENTS / "0").glob("*.*log")) < begin_size / 2
    again = LocalLog(log.root, partitions=1)
    for opened in (log, again):
        assert all_records(opened, EVENTS, 0) == records
        for place in range(2 * BATCHES):
            chunk = opened.read(EVENTS, 0, 50 * place, 50)
            assert chunk is not None
            assert chunk.payload == records[place] + b"\n"
    assert run("check")[0] == 0


def test_a_segment_of_format_1_is_compressed_and_then_has_checksums(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"format":1,"partitions":1}')
    folder = tmp_path / EVENTS / "0"
    folder.mkdir(parents=True)
    (folder / f"{0:020d}.ndjson").write_bytes(b"one\ntwo\n" * 50_000)
    log = LocalLog(tmp_path, partitions=1)
    log.append(EVENTS, 0, [b"three"])
    assert log.compress() == 1
    assert [path.suffix for path in sorted(folder.glob("0*"))] == [".zlog", ".log"]
    assert all_records(log, EVENTS, 0) == [b"one", b"two"] * 50_000 + [b"three"]


def test_a_flipped_bit_in_a_compressed_segment_is_found_and_set_aside(log: LocalLog) -> None:
    log.compress()
    path = sorted((log.root / EVENTS / "0").glob("*.zlog"))[1]
    flip_bit(path, path.stat().st_size - 5)
    assert run("check")[0] == 1
    assert run("repair")[0] == 0
    assert read_over_gaps(log) == all_but(*range(5, 10))


def test_a_damaged_segment_is_not_compressed(log: LocalLog) -> None:
    damage(log, (1, 1))
    assert log.compress() == 2
    assert run("repair")[0] == 0
    assert log.compress() == 1
    assert read_over_gaps(log) == all_but(6)


def test_a_kill_at_any_point_of_compression_leaves_a_whole_log(tmp_path: Path) -> None:
    from tests.support.lossy_disk import LossyDisk

    class Killed(BaseException):
        pass

    class Dying(LossyDisk):
        steps = 10_000

        def write(self, fd: int, content: bytes | memoryview) -> int:
            self.step()
            return super().write(fd, content)

        def replace(self, source: str, target: str) -> None:
            self.step()
            super().replace(source, target)

        def unlink(self, path: str) -> None:
            self.step()
            super().unlink(path)

        def pwrite(self, fd: int, content: bytes, position: int) -> int:
            self.step()
            return super().pwrite(fd, content, position)

        def step(self) -> None:
            self.steps -= 1
            if self.steps < 0:
                raise Killed

    killed = True
    for steps in range(30):
        root, disk = tmp_path / str(steps), Dying()
        log = LocalLog(root, partitions=1, segment_bytes=500, fsync=False, compress=False, disk=disk)
        for number in range(BATCHES):
            log.append(EVENTS, 0, batch(number))
        disk.steps = steps
        try:
            log.compress()
            killed = False
        except Killed:
            killed = True
        disk.steps = 10_000
        again = LocalLog(root, partitions=1, fsync=False, compress=False)
        assert all_records(again, EVENTS, 0) == all_but()
        again.compress()
        assert all_records(again, EVENTS, 0) == all_but()
        assert not list(root.rglob("*.new"))
    assert not killed, "the last round was not disturbed"


def test_readers_and_writers_go_on_while_segments_are_compressed_in_the_background(tmp_path: Path) -> None:
    log = LocalLog(tmp_path, partitions=1, segment_bytes=5_000, fsync=False)
    reader = LocalLog(tmp_path, partitions=1, fsync=False)
    written = [record for number in range(60) for record in batch(number % 20) * 10]

    def write() -> None:
        for first in range(0, len(written), 20):
            log.append(EVENTS, 0, written[first : first + 20])

    thread = threading.Thread(target=write)
    thread.start()
    at, seen = 0, []
    while len(seen) < len(written):
        chunk = reader.read(EVENTS, 0, at, 2_000, timeout_s=30.0)
        assert chunk is not None
        seen += chunk.records()
        at = chunk.next_offset
    thread.join()
    assert seen == written
    deadline = time.monotonic() + 60.0
    while not list((tmp_path / EVENTS / "0").glob("*.zlog")):
        assert time.monotonic() < deadline, "nothing was compressed"
        time.sleep(0.01)
    log.close()
    assert all_records(reader, EVENTS, 0) == written
