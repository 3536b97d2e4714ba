"""Files of ids beside the recovery store: what a snapshot names is there, or the shard does not go on."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.logic.campaigns.dedupe import SeenIds
from flows.snapshots import id_files
from flows.snapshots.framed import StateDamagedError
from flows.snapshots.id_files import IdFiles, Saved

IDS_MAX = 5_000


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_files, "_SEGMENT_IDS_MIN", 700)


def all_of(seen: SeenIds) -> list[list[int]]:
    return [seen.kept(number).tolist() for number in range(len(seen.counts()))]


def send(seen: SeenIds, rng: random.Random, events: int) -> None:
    """Four organisations, one of which sends nearly all."""
    ids = np.array([rng.getrandbits(64) for _ in range(events)], np.uint64)
    owners = np.array(rng.choices(range(4), [100, 5, 1, 1], k=events), np.int32)
    seen.mark_new(ids, owners)


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))


@pytest.mark.parametrize("seed", range(12))
def test_a_shard_goes_on_from_any_of_its_last_snapshots(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    seen, files = SeenIds(IDS_MAX), IdFiles(tmp_path / "0", IDS_MAX)
    snapshots: list[tuple[Saved, list[list[int]]]] = []
    for _ in range(120):
        send(seen, rng, rng.choice([0, 1, 50, 400]))
        snapshots = [*snapshots[-3:], (files.save(seen), all_of(seen))]
        if rng.random() < 0.15:
            send(seen, rng, rng.choice([0, 10, 3_000]))
            if rng.random() < 0.5:
                # Saved, but killed before the recovery store had the snapshot.
                files.save(seen)
            back = rng.randrange(len(snapshots))
            saved, wanted = snapshots[back]
            snapshots = snapshots[: back + 1]
            files.close()
            files, seen = IdFiles.load(tmp_path / "0", saved, IDS_MAX)
            assert all_of(seen) == wanted
    assert bytes_of(tmp_path / "0") < 8 * 6 * IDS_MAX


def filled(folder: Path) -> tuple[Saved, SeenIds]:
    rng = random.Random(1)
    seen, files = SeenIds(IDS_MAX), IdFiles(folder, IDS_MAX)
    for _ in range(60):
        send(seen, rng, 300)
        saved = files.save(seen)
    files.close()
    assert saved.base is not None
    return saved, seen


def test_a_snapshot_writes_only_what_was_added(tmp_path: Path) -> None:
    rng = random.Random(2)
    seen, files = SeenIds(1_000_000), IdFiles(tmp_path / "0", 1_000_000)
    seen.mark_new(np.arange(2, 900_002, dtype=np.uint64))
    files.save(seen)
    before = bytes_of(tmp_path / "0")
    send(seen, rng, 1_000)
    files.save(seen)
    assert bytes_of(tmp_path / "0") - before < 9_000


@pytest.mark.parametrize("what", ["flipped", "cut", "missing"])
def test_a_damaged_file_is_told_with_the_mend(tmp_path: Path, what: str) -> None:
    saved, _ = filled(tmp_path / "0")
    rng = random.Random(what)
    for path in sorted((tmp_path / "0").glob("*.ids")):
        damaged = tmp_path / f"damaged-{path.stem}"
        shutil.copytree(tmp_path / "0", damaged)
        target = damaged / path.name
        if what == "missing":
            target.unlink()
        elif what == "cut":
            os.truncate(target, target.stat().st_size - 1)
        else:
            raw = bytearray(target.read_bytes())
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            target.write_bytes(raw)
        named = {part.number for part in [*saved.segments, *filter(None, [saved.base])]}
        if int(path.stem.removeprefix("base-")) in named:
            with pytest.raises(StateDamagedError, match="penstock flow --rewind"):
                IdFiles.load(damaged, saved, IDS_MAX)


def test_a_file_of_another_history_is_refused(tmp_path: Path) -> None:
    """The same sizes and numbers of ids, other ids: as after a folder was put together from two."""
    saved, _ = filled(tmp_path / "0")
    part = saved.segments[-1]
    other = SeenIds(IDS_MAX)
    ids: NDArray[np.uint64] = np.arange(2, 2 + part.ids, dtype=np.uint64)
    other.mark_new(ids)
    files = IdFiles(tmp_path / "1", IDS_MAX)
    files.save(other)
    files.close()
    shutil.copy(next((tmp_path / "1").glob("*.ids")), tmp_path / "0" / f"{part.number:012d}.ids")
    with pytest.raises(StateDamagedError, match="penstock flow --rewind"):
        IdFiles.load(tmp_path / "0", saved, IDS_MAX)


def test_a_full_disk_delays_a_snapshot_and_loses_nothing(tmp_path: Path) -> None:
    full = False

    def sync(handle: int) -> None:
        if full:
            os.ftruncate(handle, max(0, os.fstat(handle).st_size - 5))
            raise OSError(28, "No space left on device")
        os.fdatasync(handle)

    rng = random.Random(3)
    seen, files = SeenIds(IDS_MAX), IdFiles(tmp_path / "0", IDS_MAX, sync)
    for number in range(80):
        send(seen, rng, 300)
        if full := number % 3 == 1:
            with pytest.raises(OSError, match="No space"):
                files.save(seen)
        else:
            saved = files.save(seen)
            wanted = all_of(seen)
    files.close()
    _, again = IdFiles.load(tmp_path / "0", saved, IDS_MAX)
    assert all_of(again) == wanted


def test_a_larger_or_smaller_memory_takes_over_what_was_kept(tmp_path: Path) -> None:
    saved, seen = filled(tmp_path / "0")
    for ids_max in (IDS_MAX // 2, 2 * IDS_MAX):
        shutil.copytree(tmp_path / "0", tmp_path / str(ids_max))
        files, other = IdFiles.load(tmp_path / str(ids_max), saved, ids_max)
        for number, kept in enumerate(all_of(other)):
            assert kept == seen.kept(number).tolist()[-len(kept) :]
        assert len(other) == min(len(seen), ids_max) or len(other) > ids_max - 4
        send(other, random.Random(4), 100)
        again = files.save(other)
        files.close()
        assert all_of(IdFiles.load(tmp_path / str(ids_max), again, ids_max)[1]) == all_of(other)
