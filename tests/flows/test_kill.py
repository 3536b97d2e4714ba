"""The flow killed at chance moments of a replay of 120,000 events: nothing is lost, nothing counts twice.

Each life of a flow costs a start; `make hunt-kills` goes on with ten kills a round, as many rounds as one likes.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from tests.support import flow_runs
from tests.support.flow_kills import Undisturbed, assert_same, kill_again_and_again

EVENTS_TOTAL = 120_000
KILLS = {1: 6, 2: 4}
SEED = 20_260_528
# The busiest campaigns spend about four times this much in a day.
DAILY_BUDGET_MICROS = 12_000_000

pytestmark = pytest.mark.slow


# All tests of a kind in one process: the undisturbed run is made once.
KINDS = [pytest.param(kind, marks=pytest.mark.xdist_group(f"kills-{kind}")) for kind in ("local", "kafka")]


@pytest.fixture(scope="module", params=KINDS)
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Undisturbed:
    """The log of an undisturbed run. Causes are named by log offsets, so each kind of log needs its own."""
    bootstrap = request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else ""
    root = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed.run(root, EVENTS_TOTAL, SEED, DAILY_BUDGET_MICROS, bootstrap)


# Starts of a cluster take minutes on a machine that does much else.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "a cluster of two"])
def test_kills_at_any_moment_change_no_total_or_decision(
    undisturbed: Undisturbed, processes: int, tmp_path: Path
) -> None:
    rng = random.Random(f"{SEED} {undisturbed.kind} {processes}")
    log = kill_again_and_again(undisturbed, tmp_path, processes, KILLS[processes], rng)
    assert_same(log, undisturbed.log)
    log.close()


def test_the_undisturbed_run_has_pauses_resumes_duplicates_and_dead_letters(undisturbed: Undisturbed) -> None:
    kinds = {msgspec.json.decode(record)["kind"] for record in flow_runs.decisions(undisturbed.log).values()}
    duplicates, dead = flow_runs.judged(undisturbed.log)
    assert {"pause", "resume"} <= kinds
    assert len(duplicates) > 2_000
    assert len(dead) > 400
    assert len(flow_runs.dead_letter_ids(undisturbed.log)) == len(dead)
