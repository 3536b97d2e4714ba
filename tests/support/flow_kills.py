"""A flow killed again and again on a copy of a log that an undisturbed flow worked through."""

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

from schemas.kpis import Verdicts
from schemas.log import Log
from schemas.topics import EVENTS, VERDICTS
from tests.support import flow_runs
from tests.support.flow_child import FlowSpec

PARTITIONS = 3
# A machine that does much else at once.
STEP_DEADLINE_S = 180.0


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed, and how to open another log of the same kind."""

    log: Log
    daily_budget_micros: int
    # Of Kafka's brokers; empty for the local log.
    bootstrap: str = ""

    @property
    def kind(self) -> str:
        """The kind of log."""
        return "kafka" if self.bootstrap else "local"

    @classmethod
    def run(cls, root: Path, events: int, seed: int, daily_budget_micros: int, bootstrap: str = "") -> Undisturbed:
        """Let one process work through so many events."""
        spec = msgspec.structs.replace(fresh_spec(root, bootstrap), until_end=True)
        log = spec.open_log()
        flow_runs.define_all(log, daily_budget_micros)
        assert flow_runs.fill(log, flow_runs.event_lines(events, seed)) == events
        subprocess.run(spec.command(), check=True, timeout=STEP_DEADLINE_S)
        return cls(log, daily_budget_micros, bootstrap)

    def copied(self, root: Path, processes: int) -> tuple[FlowSpec, Log]:
        """A flow and a log of its own with the same definitions and events."""
        spec = fresh_spec(root, self.bootstrap, processes)
        log = spec.open_log()
        flow_runs.define_all(log, self.daily_budget_micros)
        flow_runs.copy(self.log, log, EVENTS)
        return spec, log


def fresh_spec(root: Path, bootstrap: str, processes: int = 1) -> FlowSpec:
    """A flow on an empty log; a cluster has more shards than processes."""
    prefix = f"kill{uuid.uuid4().hex[:10]}." if bootstrap else ""
    if bootstrap:
        from ingest.kafka_topics import ensure_topics

        ensure_topics(bootstrap, PARTITIONS, prefix=prefix)
    return FlowSpec(
        root=str(root),
        partitions=PARTITIONS,
        bootstrap=bootstrap,
        prefix=prefix,
        processes=processes,
        shards=1 if processes == 1 else 2 * processes,
    )


def kill_again_and_again(
    undisturbed: Undisturbed, root: Path, processes: int, kills: int, rng: random.Random, *, varied: bool = False
) -> Log:
    """The log of a flow that was killed so many times, and then left to come to the end.

    `varied`: each of its lives has epochs and spans of another size, so that kills meet other halves of work.
    """
    spec, log = undisturbed.copied(root, processes)
    progress = Progress(log)
    for share in sorted(rng.uniform(0.02, 0.95) for _ in range(kills)):
        _run_until(_varied(spec, rng) if varied else spec, progress, share, rng)
    subprocess.run(msgspec.structs.replace(spec, until_end=True).command(), check=True, timeout=STEP_DEADLINE_S)
    return log


def _varied(spec: FlowSpec, rng: random.Random) -> FlowSpec:
    epoch_s, span_kib = rng.choice((0.05, 0.1, 0.3)), rng.choice((32, 64, 128))
    return msgspec.structs.replace(spec, epoch_seconds=epoch_s, span_bytes=span_kib * 1024)


def assert_same(log: Log, expected: Log) -> None:
    """Whatever was killed, what came of it is what came of the undisturbed run."""
    difference = flow_runs.differing_decisions(flow_runs.decisions(log), flow_runs.decisions(expected))
    assert not difference, difference
    assert flow_runs.windows(log) == flow_runs.windows(expected)
    assert flow_runs.judged(log) == flow_runs.judged(expected)
    assert flow_runs.dead_letter_ids(log) == flow_runs.dead_letter_ids(expected)


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
