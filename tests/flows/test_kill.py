"""The flow killed at ten moments of a replay of 300,000 events: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from ingest.local_log import LocalLog
from schemas.kpis import Verdicts
from schemas.log import Log
from schemas.topics import EVENTS, VERDICTS
from tests.support import flow_runs
from tests.support.flow_child import FlowSpec

EVENTS_TOTAL = 300_000
PARTITIONS = 3
KILLS = 10
SEED = 20_260_528
# The busiest campaigns spend about four times this much in a day.
DAILY_BUDGET_MICROS = 30_000_000
STEP_DEADLINE_S = 60.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> LocalLog:
    """The log of a run that nothing disturbed."""
    spec = FlowSpec(root=str(tmp_path_factory.mktemp("undisturbed")), partitions=PARTITIONS, until_end=True)
    log = spec.open_log()
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    assert flow_runs.fill(log, flow_runs.event_lines(EVENTS_TOTAL, SEED)) == EVENTS_TOTAL
    subprocess.run(spec.command(), check=True, timeout=STEP_DEADLINE_S)
    assert isinstance(log, LocalLog)
    return log


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
@pytest.mark.parametrize("kind", ["local", "kafka"])
def test_ten_kills_change_no_total_and_no_decision(
    kind: str, processes: int, undisturbed: LocalLog, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    spec = _spec(kind, processes, tmp_path, request)
    log = spec.open_log()
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    flow_runs.copy(undisturbed, log, EVENTS)
    rng = random.Random(f"{SEED} {kind} {processes}")
    progress = Progress(log)
    for share in sorted(rng.uniform(0.02, 0.95) for _ in range(KILLS)):
        _run_until(spec, progress, share, rng)
    subprocess.run(msgspec.structs.replace(spec, until_end=True).command(), check=True, timeout=STEP_DEADLINE_S)
    assert flow_runs.decisions(log) == flow_runs.decisions(undisturbed)
    assert flow_runs.windows(log) == flow_runs.windows(undisturbed)
    assert len(flow_runs.dead_letter_ids(log)) == len(flow_runs.dead_letter_ids(undisturbed))
    assert [len(found) for found in flow_runs.judged(log)] == [len(found) for found in flow_runs.judged(undisturbed)]


def test_the_undisturbed_run_has_pauses_resumes_duplicates_and_dead_letters(undisturbed: LocalLog) -> None:
    kinds = {msgspec.json.decode(record)["kind"] for record in flow_runs.decisions(undisturbed).values()}
    duplicates, dead = flow_runs.judged(undisturbed)
    assert {"pause", "resume"} <= kinds
    assert len(duplicates) > 5_000
    assert len(dead) > 1_000
    assert len(flow_runs.dead_letter_ids(undisturbed)) == len(dead)


def _spec(kind: str, processes: int, folder: Path, request: pytest.FixtureRequest) -> FlowSpec:
    shards = 4 if processes > 1 else 1
    spec = FlowSpec(root=str(folder), partitions=PARTITIONS, processes=processes, shards=shards)
    if kind == "local":
        return spec
    from ingest.kafka_topics import ensure_topics

    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    prefix: str = request.getfixturevalue("kafka_prefix")
    ensure_topics(bootstrap, PARTITIONS, prefix=prefix)
    return msgspec.structs.replace(spec, bootstrap=bootstrap, prefix=prefix)


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
            if spec.processes > 1 and rng.random() < 0.5:
                _kill_one_member(flow.pid, rng)
        finally:
            flow.kill()


def _kill_one_member(supervisor: int, rng: random.Random) -> None:
    """Kill one process of the cluster, and wait until its supervisor has started another."""
    before = _children(supervisor)
    os.kill(rng.choice(before), signal.SIGKILL)
    deadline = time.monotonic() + STEP_DEADLINE_S
    while len(now := set(_children(supervisor)) - set(before)) < len(before):
        assert time.monotonic() < deadline, f"the cluster was not started again: {now}"
        time.sleep(0.01)


def _children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
