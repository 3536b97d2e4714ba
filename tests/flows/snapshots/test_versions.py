"""State survives an upgrade: snapshots of every version are gone on from, and none changes its form unnoticed."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import msgspec
import pytest

from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.kept import fitted
from flows.logic.windows.layout import CAMPAIGN
from flows.snapshots.shard import ShardFiles
from flows.snapshots.versions import MIGRATIONS, VERSION, State, UnknownVersionError, read, write
from tests.flows.snapshots.golden import FOLDER, form, form_file
from tests.flows.snapshots.history import HALF, LIMITS, STEPS, said, shard, steps

VERSIONS = range(min(MIGRATIONS), VERSION + 1)
DEDUPE_IDS = 100_000


@cache
def undisturbed(version: int) -> list[list[bytes]]:
    """What the second half of the history brings to a shard that was never stopped."""
    whole = shard()
    outputs = [whole.step(step) for step in (*steps(0, HALF, version), *steps(HALF, STEPS))]
    return said(outputs)[-2 * (STEPS - HALF) :]


def gone_on_from(state: State, duplicates: Duplicates) -> list[list[bytes]]:
    restored = CampaignShard.restore(state, 0, 1, 1, LIMITS, duplicates)
    return said([restored.step(step) for step in steps(HALF, STEPS)])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_of_each_version_is_gone_on_from_as_if_nothing_had_been(version: int) -> None:
    golden = FOLDER / f"{version}.snapshot"
    assert golden.exists(), f"run `python -m tests.flows.snapshots.golden` once to record version {version}"
    assert gone_on_from(read(golden.read_bytes(), None), Duplicates(1, DEDUPE_IDS)) == undisturbed(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_each_version_are_gone_on_from_as_if_nothing_had_been(tmp_path: Path, version: int) -> None:
    shutil.copytree(FOLDER / f"{version}.files", tmp_path / "store")
    duplicates = Duplicates(1, DEDUPE_IDS)
    state = ShardFiles(tmp_path / "store", 0).load((tmp_path / "store" / "head").read_bytes(), duplicates)
    assert gone_on_from(state, duplicates) == undisturbed(version)


def test_the_form_of_snapshots_is_that_of_its_version() -> None:
    recorded = json.loads(form_file(VERSION).read_text())
    assert form() == recorded, (
        f"what snapshots hold is not what version {VERSION} of the state is recorded to hold. If that version was "
        "released: raise VERSION in flows/snapshots/versions.py, add a step to MIGRATIONS, then run "
        "`python -m tests.flows.snapshots.golden`"
    )


def test_there_is_a_step_from_each_version_to_the_next() -> None:
    assert sorted(MIGRATIONS) == list(range(min(MIGRATIONS), VERSION))


def test_a_snapshot_of_a_newer_version_is_refused_and_not_misread() -> None:
    kept = msgspec.msgpack.decode(write({"a": 1}, None))
    newer = msgspec.msgpack.encode(kept | {"version": VERSION + 1})
    with pytest.raises(UnknownVersionError, match=f"version {VERSION + 1}"):
        read(newer, None)


def test_a_column_that_is_new_begins_with_nothing_and_one_that_went_is_left_out() -> None:
    names = [name for name in CAMPAIGN.names or () if name != "spent_day"]
    older = fitted(half := _campaigns(), CAMPAIGN[[*names]])
    again = fitted(older, CAMPAIGN)
    assert again.dtype == CAMPAIGN
    assert (again["spent_day"] == 0).all()
    assert (again["spent_total"] == half["spent_total"]).all()


def _campaigns():  # type: ignore[no-untyped-def]
    return read((FOLDER / f"{VERSION}.snapshot").read_bytes(), None)["arrays"]["camp"]
