"""The recovery store and the lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from flows.instance_lock import InstanceLock, InstanceLockedError
from flows.seed import Seed, read_seed, write_seed
from flows.snapshots.framed import StateDamagedError
from flows.snapshots.versions import MIGRATIONS
from flows.store import StoreMismatchError, StoreSettings, prepare

SETTINGS = StoreSettings(shards=2, partitions=4)


def made(folder: Path, settings: StoreSettings = SETTINGS, *, process: int = 0, shared: bool = True) -> list[str]:
    prepare(folder, settings, process=process, processes=3, shared=shared)
    return sorted(path.name for path in folder.glob("part-*"))


def test_processes_of_one_machine_share_a_store_with_a_file_each(tmp_path: Path) -> None:
    assert made(tmp_path / "r") == ["part-0.sqlite3", "part-1.sqlite3", "part-2.sqlite3"]


def test_a_machine_of_its_own_keeps_its_own_file_only(tmp_path: Path) -> None:
    assert made(tmp_path / "r", process=1, shared=False) == ["part-1.sqlite3"]


def test_a_kill_while_it_is_made_leaves_no_half_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "r.new-0").mkdir()
    (tmp_path / "r.new-0" / "part-0.sqlite3").write_text("half")
    assert len(made(tmp_path / "r")) == 3
    assert not (tmp_path / "r.new-0").exists()


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    made(tmp_path / "r")
    assert len(made(tmp_path / "r")) == 3


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (replace(SETTINGS, shards=3), "shards 2 is now 3"),
        (replace(SETTINGS, partitions=8), "partitions 4 is now 8"),
    ],
    ids=["shards", "partitions"],
)
def test_other_settings_are_refused_with_what_to_do(tmp_path: Path, other: StoreSettings, said: str) -> None:
    made(tmp_path / "r")
    with pytest.raises(StoreMismatchError, match=said) as refused:
        made(tmp_path / "r", other)
    assert "move the folder away" in str(refused.value)


@pytest.mark.parametrize("version", [1, min(MIGRATIONS) - 1, SETTINGS.state_format + 1])
def test_a_store_of_another_version_is_refused_and_not_misread(tmp_path: Path, version: int) -> None:
    made(tmp_path / "r", replace(SETTINGS, state_format=version))
    with pytest.raises(StoreMismatchError, match="another version"):
        made(tmp_path / "r")


@pytest.mark.parametrize("version", sorted(MIGRATIONS))
def test_a_store_of_an_older_version_is_gone_on_with_and_no_older_flow_takes_it_again(
    tmp_path: Path, version: int
) -> None:
    made(tmp_path / "r", replace(SETTINGS, state_format=version))
    assert len(made(tmp_path / "r")) == 3
    assert json.loads((tmp_path / "r" / "settings.json").read_text())["state_format"] == SETTINGS.state_format


def test_a_store_from_before_formats_were_numbered_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "r")
    settings = tmp_path / "r" / "settings.json"
    settings.write_text('{"shards": 2, "partitions": 4, "dedupe_ids": 1024}')
    with pytest.raises(StoreMismatchError, match="has format 1"):
        made(tmp_path / "r")


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.instance_lock.WAIT_S", 0.0)


@pytest.mark.usefixtures("_no_wait")
def test_a_second_flow_on_the_same_folder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with (
        InstanceLock(tmp_path),
        pytest.raises(InstanceLockedError, match=f"process {os.getpid()}"),
        InstanceLock(tmp_path),
    ):
        pass


@pytest.mark.usefixtures("_no_wait")
def test_processes_of_a_cluster_share_a_folder_but_not_a_number(tmp_path: Path) -> None:
    with InstanceLock(tmp_path, 0), InstanceLock(tmp_path, 1):
        with pytest.raises(InstanceLockedError), InstanceLock(tmp_path, 1):
            pass
        with pytest.raises(InstanceLockedError), InstanceLock(tmp_path):
            pass


@pytest.mark.usefixtures("_no_wait")
def test_a_child_that_outlives_its_killed_parent_still_holds_the_folder(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path)
    lock.__enter__()
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(sleeper, stdin=subprocess.PIPE, pass_fds=lock.inheritable()) as child:
        lock.__exit__(None, None, None)
        with pytest.raises(InstanceLockedError), InstanceLock(tmp_path):
            pass
        child.communicate(b"")
    with InstanceLock(tmp_path):
        pass


def test_processes_of_a_cluster_that_make_the_store_at_once_agree_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very first start of a cluster: each member finds no store and makes one."""
    processes = 3
    all_made = threading.Barrier(processes)

    def make_and_wait(folder: Path, count: int) -> None:
        init_db_dir(folder, count)
        all_made.wait(timeout=60.0)

    monkeypatch.setattr("flows.store.init_db_dir", make_and_wait)
    with ThreadPoolExecutor(processes) as pool:
        starts = [
            pool.submit(prepare, tmp_path / "r", SETTINGS, process=number, processes=processes, shared=True)
            for number in range(processes)
        ]
    assert [start.exception() for start in starts] == [None] * processes
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_member_with_other_settings_than_the_one_that_made_the_store_first_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def make_after_the_other(half: Path, count: int) -> None:
        monkeypatch.setattr("flows.store.init_db_dir", init_db_dir)
        made(tmp_path / "r")
        init_db_dir(half, count)

    monkeypatch.setattr("flows.store.init_db_dir", make_after_the_other)
    with pytest.raises(StoreMismatchError, match="shards 2 is now 8"):
        made(tmp_path / "r", replace(SETTINGS, shards=8), process=1)


def test_settings_that_are_damaged_are_told_with_the_mend(tmp_path: Path) -> None:
    made(tmp_path / "r")
    (tmp_path / "r" / "settings.json").write_text("")
    with pytest.raises(StateDamagedError, match="penstock flow --rewind"):
        made(tmp_path / "r")


def test_a_seed_that_is_damaged_is_told_with_the_mend(tmp_path: Path) -> None:
    write_seed(tmp_path, Seed(shards={0: b"state"}))
    assert read_seed(tmp_path).shards == {0: b"state"}
    path = tmp_path / "seed.json"
    path.write_bytes(path.read_bytes().replace(b"c3Rh", b"c4Rh"))
    with pytest.raises(StateDamagedError, match="is damaged"):
        read_seed(tmp_path)
