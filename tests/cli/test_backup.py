"""Backup and restore of what needs no engine: files, log, snapshots, control plane."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.backup.manifest import read_manifest
from cli.main import app
from cli.settings import Settings
from cli.wiring import open_log
from ingest.local_log import LocalLog
from schemas.topics import CONTROL, EVENTS, LIVE, ORDER, VERDICTS
from tests.support.logs import all_records
from tests.support.lossy_disk import flip_bit


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place_at(monkeypatch, tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "openrtb.secret").write_text("secret")
    log = log_of()
    for number in range(50):
        log.append(EVENTS, number % 2, [b"event %d" % number])
    log.append(CONTROL, 0, [b'{"key":"a"}'])
    log.commit("store", EVENTS, 0, 0)
    log.close()
    with sqlite3.connect(tmp_path / "data" / "control.db") as database:
        database.execute("CREATE TABLE campaigns (name TEXT)")
        database.execute("INSERT INTO campaigns VALUES ('one')")
    return tmp_path / "data"


def place_at(monkeypatch: pytest.MonkeyPatch, data_dir: Path, partitions: int = 2) -> None:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(data_dir))
    monkeypatch.setenv("PENSTOCK_PARTITIONS", str(partitions))


def log_of() -> LocalLog:
    log = open_log(Settings())
    assert isinstance(log, LocalLog)
    return log


def run(*words: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    return found.exit_code, found.output


def test_a_restored_folder_has_the_log_its_offsets_groups_control_plane_and_secrets(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = log_of()
    code, told = run("backup", tmp_path / "b")
    assert code == 0, told
    place_at(monkeypatch, tmp_path / "new")
    code, told = run("restore", tmp_path / "b")
    assert code == 0, told
    after = log_of()
    for topic, partition in ((EVENTS, 0), (EVENTS, 1), (CONTROL, 0)):
        assert after.end(topic, partition) == before.end(topic, partition)
        assert all_records(after, topic, partition) == all_records(before, topic, partition)
    assert after.committed("store", EVENTS, 0) == 0
    assert after.append(EVENTS, 0, [b"goes on"]) > before.end(EVENTS, 0)
    assert (tmp_path / "new" / "openrtb.secret").read_text() == "secret"
    with sqlite3.connect(tmp_path / "new" / "control.db") as database:
        assert database.execute("SELECT name FROM campaigns").fetchall() == [("one",)]


def test_a_restored_log_is_another_log_and_what_was_copied_with_it_knows(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = log_of().identity()
    (data_dir / "recovery").mkdir(exist_ok=True)
    (data_dir / "recovery" / "settings.json").write_text(f'{{"log":"{identity}"}}')
    run("backup", tmp_path / "b")
    place_at(monkeypatch, tmp_path / "new")
    assert run("restore", tmp_path / "b")[0] == 0
    fresh = log_of().identity()
    assert fresh != identity
    assert (tmp_path / "new" / "recovery" / "settings.json").read_text() == f'{{"log":"{fresh}"}}'


def test_a_backup_is_its_owners_alone(data_dir: Path, tmp_path: Path) -> None:
    run("backup", tmp_path / "b")
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in [tmp_path / "b", *(tmp_path / "b").rglob("*")]}
    assert modes == {True: 0o700, False: 0o600}


def test_backup_refuses_a_folder_that_is_not_empty(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").touch()
    code, told = run("backup", tmp_path / "b")
    assert (code, "is not empty" in told) == (1, True)


def test_restore_refuses_a_folder_that_is_not_empty(data_dir: Path, tmp_path: Path) -> None:
    run("backup", tmp_path / "b")
    files = sorted(data_dir.rglob("*"))
    code, told = run("restore", tmp_path / "b")
    assert (code, "is not empty" in told) == (1, True)
    assert sorted(data_dir.rglob("*")) == files


@pytest.mark.parametrize("damaged", ["control.db", "log/meta.json", "manifest.json", "missing", "no manifest"])
def test_restore_verifies_everything_before_it_touches_anything(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    run("backup", tmp_path / "b")
    if damaged == "missing":
        (tmp_path / "b" / "control.db").unlink()
    elif damaged == "no manifest":
        (tmp_path / "b" / "manifest.json").unlink()
    else:
        flip_bit(tmp_path / "b" / damaged, 10)
    place_at(monkeypatch, tmp_path / "new")
    code, told = run("restore", tmp_path / "b")
    assert code == 1
    assert "is damaged" in told or "is missing" in told
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*.restoring"))


def test_restore_with_another_number_of_partitions_is_refused_with_the_mend(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("backup", tmp_path / "b")
    place_at(monkeypatch, tmp_path / "new", partitions=3)
    code, told = run("restore", tmp_path / "b")
    assert (code, "PENSTOCK_PARTITIONS=2" in told) == (1, True)


def test_what_is_left_out_is_told(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE", "postgresql://u:p@h/d")
    monkeypatch.setenv("PENSTOCK_CLICKHOUSE", "http://h:8123")
    code, told = run("backup", tmp_path / "b")
    assert code == 0
    assert "pg_dump" in told
    assert "BACKUP DATABASE" in told
    assert "control.db" not in read_manifest(tmp_path / "b").files


def test_no_record_of_the_cut_speaks_of_an_event_that_the_cut_has_not(tmp_path: Path) -> None:
    """Events are appended, then a verdict and an order entry that name their end, without a pause."""
    log = LocalLog(tmp_path, partitions=1, segment_bytes=20_000, fsync=False)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            end = log.append(EVENTS, 0, [b"x" * 99] * 10)
            log.append(ORDER, 0, [b"%d" % end])
            log.append(VERDICTS, 0, [b"%d" % end])
            log.append(LIVE, 0, [b"row"])

    worker = threading.Thread(target=work)
    worker.start()
    other = LocalLog(tmp_path, partitions=1, fsync=False)
    for _ in range(20):
        with other.frozen() as cut:
            ends = {one.topic: one.head.end for one in cut}
            for topic in (ORDER, VERDICTS):
                named = [int(record) for record in _lines(other, topic, ends[topic])]
                assert max(named, default=0) <= ends[EVENTS]
            sizes = [Path(file.link).stat().st_size >= file.size_bytes for one in cut for file in one.files]
            assert all(sizes)
            assert LIVE not in ends
    stop.set()
    worker.join()
    log.close()


def _lines(log: LocalLog, topic: str, end: int) -> list[bytes]:
    """The records before offset `end`."""
    content = b"".join(record + b"\n" for record in all_records(log, topic, 0))
    return content[:end].split(b"\n")[:-1]


def test_the_snapshot_of_a_recovery_store_that_is_being_written_is_whole(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = data_dir / "recovery"
    store.mkdir()
    (store / "settings.json").write_text("{}")
    writer = sqlite3.connect(store / "part-0.sqlite3", check_same_thread=False)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.executescript(
        "CREATE TABLE fronts (ex_num INT, worker_index INT, worker_frontier INT);"
        "CREATE TABLE commits (part_index INT, commit_epoch INT);"
        "INSERT INTO fronts VALUES (0, 0, 1); INSERT INTO commits VALUES (0, 1);"
    )
    writer.commit()
    stop = threading.Event()

    def work() -> None:
        epoch = 1
        while not stop.is_set():
            epoch += 1
            with writer:
                writer.execute("UPDATE fronts SET worker_frontier = ?", (epoch,))
                writer.execute("UPDATE commits SET commit_epoch = ?", (epoch,))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        code, told = run("backup", tmp_path / "b")
    finally:
        stop.set()
        worker.join()
    assert code == 0, told
    with sqlite3.connect(tmp_path / "b" / "recovery" / "part-0.sqlite3") as copy:
        (front,) = copy.execute("SELECT worker_frontier FROM fronts").fetchone()
        (commit,) = copy.execute("SELECT commit_epoch FROM commits").fetchone()
    assert front == commit
