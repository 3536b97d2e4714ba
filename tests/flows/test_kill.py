"""The flow killed at ten moments of a replay of 300,000 events: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from schemas.kpis import Verdicts
from schemas.log import Log
from schemas.topics import EVENTS, VERDICTS
from tests.support import flow_runs
from tests.support.flow_child import FlowSpec
from tests.support.memory_log import MemoryLog

EVENTS_TOTAL = 300_000
PARTITIONS = 3
KILLS = 10
SEED = 20_260_528
# The busiest campaigns spend about four times this much in a day.
DAILY_BUDGET_MICROS = 30_000_000
STEP_DEADLINE_S = 60.0

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed, and how to open another log of the same kind."""

    kind: str
    log: Log
    bootstrap: str = ""

    def spec(self, root: Path, processes: int = 1) -> FlowSpec:
        """A flow on a fresh log of this kind; a cluster has more shards than processes."""
        shards = 1 if processes == 1 else 2 * processes
        prefix = f"kill{uuid.uuid4().hex[:10]}." if self.bootstrap else ""
        if self.bootstrap:
            from ingest.kafka_topics import ensure_topics

            ensure_topics(self.bootstrap, PARTITIONS, prefix=prefix)
        return FlowSpec(
            root=str(root),
            partitions=PARTITIONS,
            bootstrap=self.bootstrap,
            prefix=prefix,
            processes=processes,
            shards=shards,
        )


@pytest.fixture(scope="module", params=["local", "kafka"])
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Undisturbed:
    """The log of an undisturbed run. Causes are named by log offsets, so each kind of log needs its own."""
    bootstrap = request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else ""
    fresh = Undisturbed(request.param, MemoryLog(), bootstrap)
    spec = msgspec.structs.replace(fresh.spec(tmp_path_factory.mktemp("undisturbed")), until_end=True)
    log = spec.open_log()
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    assert flow_runs.fill(log, flow_runs.event_lines(EVENTS_TOTAL, SEED)) == EVENTS_TOTAL
    subprocess.run(spec.command(), check=True, timeout=STEP_DEADLINE_S)
    return Undisturbed(request.param, log, bootstrap)


class Progress:
    """How far the flow has come, as anyone can see from topic `verdicts`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._offset = log.begin(VERDICTS, 0)
        self._total = sum(log.end(EVENTS, partition) for partition in range(PARTITIONS))
        self._next = [0] * PARTITIONS
        self.records = 0

    def share(self) -> float:
        """Share of the events that was judged at least once."""
        while (chunk := self._log.read(VERDICTS, 0, self._offset, 2**20)) is not None:
            self._offset = chunk.next_offset
            for record in chunk.records():
                one = msgspec.json.decode(record, type=Verdicts)
                self._next[one.partition] = max(self._next[one.partition], one.next_offset)
                self.records += 1
        return sum(self._next) / self._total


@pytest.mark.parametrize("processes", [1, 2], ids=["one process", "a cluster of two"])
def test_ten_kills_change_no_total_and_no_decision(undisturbed: Undisturbed, processes: int, tmp_path: Path) -> None:
    spec = undisturbed.spec(tmp_path, processes)
    log = spec.open_log()
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    flow_runs.copy(undisturbed.log, log, EVENTS)
    rng = random.Random(f"{SEED} {undisturbed.kind} {processes}")
    progress = Progress(log)
    for share in sorted(rng.uniform(0.02, 0.95) for _ in range(KILLS)):
        _run_until(spec, progress, share, rng)
    subprocess.run(msgspec.structs.replace(spec, until_end=True).command(), check=True, timeout=STEP_DEADLINE_S)
    assert flow_runs.decisions(log) == flow_runs.decisions(undisturbed.log)
    assert flow_runs.windows(log) == flow_runs.windows(undisturbed.log)
    assert flow_runs.judged(log) == flow_runs.judged(undisturbed.log)
    assert flow_runs.dead_letter_ids(log) == flow_runs.dead_letter_ids(undisturbed.log)
    log.close()


def test_the_undisturbed_run_has_pauses_resumes_duplicates_and_dead_letters(undisturbed: Undisturbed) -> None:
    kinds = {msgspec.json.decode(record)["kind"] for record in flow_runs.decisions(undisturbed.log).values()}
    duplicates, dead = flow_runs.judged(undisturbed.log)
    assert {"pause", "resume"} <= kinds
    assert len(duplicates) > 5_000
    assert len(dead) > 1_000
    assert len(flow_runs.dead_letter_ids(undisturbed.log)) == len(dead)


def _run_until(spec: FlowSpec, progress: Progress, share: float, rng: random.Random) -> None:
    """Run the flow until it has judged a span in this run and is past `share` of the events, then kill it."""
    progress.share()
    before = progress.records
    with subprocess.Popen(spec.command(), start_new_session=True) as flow:
        try:
            deadline = time.monotonic() + STEP_DEADLINE_S
            while progress.share() < share or progress.records == before:
                assert flow.poll() is None, f"the flow ended by itself with code {flow.returncode}"
                assert time.monotonic() < deadline, f"the flow did not come past {share:.0%}"
                time.sleep(0.002)
            if spec.processes > 1 and rng.random() < 0.3:
                _kill_one_member(flow.pid, rng)
        finally:
            flow.kill()


def _kill_one_member(supervisor: int, rng: random.Random) -> None:
    """Kill one process of the cluster, and wait until its supervisor has started another."""
    deadline = time.monotonic() + STEP_DEADLINE_S
    # A cluster that was just started again, and a list that the kernel does not promise to be complete.
    while len(before := _children(supervisor)) < 2:
        assert time.monotonic() < deadline, "the cluster has no members to kill"
        time.sleep(0.01)
    os.kill(rng.choice(before), signal.SIGKILL)
    deadline = time.monotonic() + STEP_DEADLINE_S
    while len(now := set(_children(supervisor)) - set(before)) < len(before):
        assert time.monotonic() < deadline, f"the cluster was not started again: {now}"
        time.sleep(0.01)


def _children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
