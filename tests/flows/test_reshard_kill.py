"""Real processes: stopped, given another number of shards, killed in the middle of it, started as one and as two."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flows.reshard import open_state
from flows.store import read_settings
from schemas.log import Log
from schemas.topics import VERDICTS
from tests.support.flow_child import FlowSpec
from tests.support.reshard_child import IDS, NEVER
from tests.support.reshard_runs import Undisturbed, outcome
from tests.support.until import until

PARTITIONS = 2
DEADLINE_S = 300.0
STEPS = [
    "reads the newest snapshots",
    "makes the new store",
    "writes shard 0",
    "writes shard 1",
    "writes the places",
    "names the new store whole",
    "puts the old store aside",
    "puts the new store in its place",
]
pytestmark = pytest.mark.timeout(900)


def flow(root: Path, shards: int = 1, processes: int = 1, *, journals: bool = False) -> None:
    """Run to the end of the log."""
    spec = spec_of(root, shards, processes, journals=journals)
    subprocess.run(spec.command(), check=True, timeout=DEADLINE_S)


def spec_of(root: Path, shards: int = 1, processes: int = 1, *, journals: bool = False) -> FlowSpec:
    """A flow on the log below a folder."""
    return FlowSpec(
        root=str(root), partitions=PARTITIONS, shards=shards, processes=processes, until_end=True, journals=journals
    )


def reshard(root: Path, shards: int, killed_at: int = NEVER) -> list[str]:
    """The steps that were told."""
    words = [
        sys.executable,
        "-m",
        "tests.support.reshard_child",
        str(root),
        str(PARTITIONS),
        str(shards),
        str(killed_at),
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert done.returncode == (0 if killed_at == NEVER else -9)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Where no number changes."""
    root = tmp_path_factory.mktemp("never")
    return Undisturbed.made(spec_of(root).open_log(), lambda: flow(root, journals=True))


@pytest.fixture(scope="module")
def stopped(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow that stopped after the first half."""
    root = tmp_path_factory.mktemp("stopped")
    log = spec_of(root).open_log()
    undisturbed.begin(log)
    flow(root)
    return root


def copied(stopped: Path, to: Path) -> tuple[Path, Log]:
    """The flow once more, for a test of its own."""
    root = to / "flow"
    shutil.copytree(stopped, root)
    return root, spec_of(root).open_log()


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "two processes"])
def test_a_flow_goes_on_with_two_shards_as_it_would_have_with_one(
    undisturbed: Undisturbed, stopped: Path, processes: int, tmp_path: Path
) -> None:
    root, log = copied(stopped, tmp_path)
    assert reshard(root, 2) == STEPS
    undisturbed.go_on(log)
    flow(root, shards=2, processes=processes)
    assert outcome(log) == undisturbed.outcome()


def test_killed_at_any_step_the_old_state_or_the_new_one_is_there(
    undisturbed: Undisturbed, stopped: Path, tmp_path: Path
) -> None:
    found = []
    for step in range(len(STEPS)):
        root, log = copied(stopped, tmp_path / str(step))
        assert reshard(root, 2, killed_at=step) == STEPS[: step + 1]
        settings = read_settings(root / "recovery")
        assert settings is not None
        assert len(open_state(root / "recovery", log, IDS).shards) == settings.shards
        names = {path.name for path in root.iterdir() if path.name.startswith("recovery")}
        assert names - {"recovery.before-1"} == {"recovery"}, "nothing is left beside it"
        found.append(settings.shards)
        if step == len(STEPS) - 1:
            undisturbed.go_on(log)
            flow(root, shards=settings.shards)
            assert outcome(log) == undisturbed.outcome()
    # The old store goes aside after the step of that name, and from then on the new one counts.
    assert found == [1, 1, 1, 1, 1, 1, 1, 2]


def test_killed_in_its_first_epoch_after_it_the_flow_begins_with_the_new_state_again(
    undisturbed: Undisturbed, stopped: Path, tmp_path: Path
) -> None:
    root, log = copied(stopped, tmp_path)
    reshard(root, 2)
    undisturbed.go_on(log)
    spec = msgspec.structs.replace(spec_of(root, shards=2), epoch_seconds=3_600.0, until_end=False)
    before = log.end(VERDICTS, 0)
    with subprocess.Popen(spec.command()) as child:
        try:
            asyncio.run(until(lambda: log.end(VERDICTS, 0) > before, DEADLINE_S))
        finally:
            child.kill()
    flow(root, shards=2)
    assert outcome(log) == undisturbed.outcome()
