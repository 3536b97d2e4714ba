"""Files of state: whatever changed and however it was killed, a shard goes on from what its snapshot named."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.logic.kept import KeptRows
from flows.logic.pages import PAGE_BYTES, bytes_of, page_hashes, page_keys
from flows.snapshots import files as files_module
from flows.snapshots.files import SavedState, StateFiles
from flows.snapshots.framed import StateDamagedError

KEY = 0xD1B54A32D192ED03
DTYPE = np.dtype([("a", "<i8"), ("b", "<i4")], align=True)

Tables = dict[str, Any]
Rows = dict[str, KeptRows]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "_SEGMENT_BYTES_MIN", 20_000)
    monkeypatch.setattr(files_module, "_SLACK_BYTES", 60_000)
    monkeypatch.setattr(files_module, "_ANEW_BYTES_MIN", 4_000)


def changed(rng: random.Random, tables: Tables, rows: Rows) -> None:
    """Some rows written, arrays longer or shorter, packed rows there or gone."""
    for name, array in list(tables.items()):
        if rng.random() < 0.3:
            tables[name] = np.resize(array, max(0, len(array) + rng.randrange(-40, 200)))
        for _ in range(rng.choice([0, 1, 30])):
            if len(tables[name]):
                tables[name][rng.randrange(len(tables[name]))] = rng.randrange(1, 128)
    for kept in rows.values():
        for _ in range(rng.choice([0, 3, 20])):
            kept[rng.randrange(300)] = rng.randbytes(rng.randrange(200))
        if kept and rng.random() < 0.5:
            del kept[rng.choice(list(kept))]


def copy(tables: Tables, rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: array.tolist() for name, array in tables.items()}, {name: dict(kept) for name, kept in rows.items()}


@pytest.mark.parametrize("seed", range(20))
def test_a_shard_goes_on_from_any_of_its_last_snapshots(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = StateFiles(tmp_path, KEY)
    tables: Tables = {
        "rows": np.zeros(700, DTYPE),
        "wide": np.zeros((50, 4), np.int32),
        "none": np.zeros(0, np.uint16),
        "bytes": np.zeros(1_000, np.uint8),
    }
    rows: Rows = {"standings": KeptRows(), "bidding": KeptRows()}
    snapshots: list[tuple[SavedState, Any]] = []
    for _ in range(150):
        changed(rng, tables, rows)
        snapshots = [*snapshots[-3:], (files.save(tables, rows), copy(tables, rows))]
        if rng.random() < 0.2:
            if rng.random() < 0.5:
                # Saved, but killed before the recovery store had the snapshot.
                changed(rng, tables, rows)
                files.save(tables, rows)
            back = rng.randrange(len(snapshots))
            saved, wanted = snapshots[back]
            snapshots = snapshots[: back + 1]
            files.close()
            files = StateFiles(tmp_path, rng.getrandbits(64))
            tables, rows = files.load(saved)
            assert copy(tables, rows) == wanted
    state = sum(array.nbytes for array in tables.values()) + sum(
        len(p) for kept in rows.values() for p in kept.values()
    )
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) < 8 * state + 20 * 60_000


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = StateFiles(tmp_path, KEY)
    tables: Tables = {"rows": rng.integers(0, 2**63, 100_000)}
    rows = {"standings": KeptRows((slot, rng.bytes(300)) for slot in range(1_000))}
    files.save(tables, rows)
    whole = files.written
    assert whole > 800_000
    files.save(tables, rows)
    assert files.written == 0
    tables["rows"][[5, 50_000]] += 1
    rows["standings"][7] = b"other"
    files.save(tables, rows)
    assert 2 * PAGE_BYTES < files.written < 3 * PAGE_BYTES + 300


def test_nothing_is_ever_written_whole_again_at_once(tmp_path: Path) -> None:
    """Rows written all over for long: no snapshot takes much more than what changed, and the disk does not fill."""
    rng = np.random.default_rng(2)
    files = StateFiles(tmp_path, KEY)
    tables: Tables = {"rows": rng.integers(0, 2**63, 100_000)}
    files.save(tables, {})
    for _ in range(400):
        at = rng.integers(0, 100_000, 20)
        tables["rows"][at] = rng.integers(0, 2**63, 20)
        files.save(tables, {})
        assert files.written < 3 * 20 * PAGE_BYTES + 8_000
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) < 4 * 800_000


@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: os.truncate(path, path.stat().st_size - 1), "bytes of"),
        (lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]), "is damaged at byte 0"),
    ],
    ids=["gone", "too short", "flipped"],
)
def test_files_that_are_not_what_was_written_are_told(tmp_path: Path, hurt: Any, said: str) -> None:
    files = StateFiles(tmp_path, KEY)
    saved = files.save({"rows": np.arange(10_000)}, {})
    hurt(next(tmp_path.glob("*.state")))
    with pytest.raises(StateDamagedError, match=said) as told:
        StateFiles(tmp_path, KEY).load(saved)
    assert "penstock flow --rewind" in str(told.value)


def test_a_disk_that_is_full_is_tried_again_and_nothing_is_lost(tmp_path: Path) -> None:
    full = {"times": 0}

    def sync(_handle: int) -> None:
        if full["times"]:
            full["times"] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")

    rng = random.Random(3)
    files = StateFiles(tmp_path, KEY, sync)
    tables: Tables = {"rows": np.zeros(700, DTYPE)}
    rows: Rows = {"standings": KeptRows()}
    for _ in range(50):
        changed(rng, tables, rows)
        full["times"] = rng.choice([0, 0, 2])
        while True:
            try:
                saved = files.save(tables, rows)
                break
            except OSError:
                continue
    wanted = copy(tables, rows)
    assert copy(*StateFiles(tmp_path, KEY).load(saved)) == wanted


def test_each_byte_of_a_page_counts_in_its_hash() -> None:
    raw = np.random.default_rng(4).integers(0, 256, 3 * PAGE_BYTES - 5, np.uint8)
    hashes = page_hashes(raw, page_keys(KEY))
    for at in range(len(raw)):
        raw[at] ^= 1
        differ = np.flatnonzero(page_hashes(raw, page_keys(KEY)) != hashes)
        assert differ.tolist() == [at // PAGE_BYTES]
        raw[at] ^= 1
    assert len(set(hashes.tolist())) == 3
    assert bytes_of(np.zeros((0, 4), np.int32)).size == 0


def test_changes_that_would_cancel_in_a_plain_product_are_seen() -> None:
    """Bit 63 of a word passes a product by an odd number as it is; another bit may not take it back."""
    raw = np.random.default_rng(5).integers(0, 2**64, PAGE_BYTES // 8, np.uint64)
    for key in range(50):
        keys = page_keys(key)
        before = page_hashes(raw.view(np.uint8), keys)
        for bit in range(64):
            for further in (2, 4, 8):
                changed = raw.copy()
                changed[10] ^= np.uint64(1) << np.uint64(63)
                changed[10 + further] ^= np.uint64(1) << np.uint64(bit)
                assert page_hashes(changed.view(np.uint8), keys)[0] != before[0]


def test_rows_that_no_segment_has_are_told(tmp_path: Path) -> None:
    files = StateFiles(tmp_path, KEY)
    saved = files.save({}, {"standings": KeptRows({1: b"one"})})
    saved.rows["standings"] = np.array([1, 2], "<i4").tobytes()
    with pytest.raises(StateDamagedError, match="lacks some of standings"):
        StateFiles(tmp_path, KEY).load(saved)


def test_a_copy_that_somebody_made_beside_a_file_harms_nothing(tmp_path: Path) -> None:
    files = StateFiles(tmp_path, KEY)
    saved = files.save({"rows": np.arange(10_000)}, {})
    (tmp_path / "000000000001 (1).state").write_bytes(b"copy")
    tables, _ = StateFiles(tmp_path, KEY).load(saved)
    assert (tables["rows"] == np.arange(10_000)).all()
