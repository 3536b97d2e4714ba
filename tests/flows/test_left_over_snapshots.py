"""What a killed run has written of an epoch that was never closed stands for nothing later."""

from __future__ import annotations

import shutil
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest
from bytewax._bytewax import run_main
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig, init_db_dir

from flows.decide import FlowSettings, build
from flows.metrics import Meter
from flows.place import SourceOptions
from schemas.log import Chunk, LogUnavailableError
from schemas.topics import EVENTS, SERVING
from tests.support import flow_runs
from tests.support.memory_log import MemoryLog

STAGES = ("decide.campaigns",)
EPOCH_S = 0.05
AWAY_S = 1.0


class SlowLog(MemoryLog):
    """Away until the flow is killed: it has closed several epochs by then, and has read nothing."""

    killed_at_s: float | None = None

    def begin(self, topic: str, partition: int) -> int:
        self._or_killed(topic)
        return super().begin(topic, partition)

    def end(self, topic: str, partition: int) -> int:
        self._or_killed(topic)
        return super().end(topic, partition)

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        self._or_killed(topic)
        return super().read(topic, partition, offset, max_bytes, timeout_s)

    def _or_killed(self, topic: str) -> None:
        # What is served is asked for before the dataflow begins.
        if self.killed_at_s is None or topic == SERVING:
            return
        if time.monotonic() > self.killed_at_s:
            raise ZeroDivisionError("killed")
        raise LogUnavailableError("the first answer takes longer than an epoch")


def run(log: MemoryLog, store: Path, *, touches: bool) -> None:
    source = SourceOptions(ends=True, touches=touches)
    flow = build(FlowSettings(dedupe_ids=8_192, source=source), log, meter=Meter())
    recovery = RecoveryConfig(store, timedelta(0))  # type: ignore[no-untyped-call]
    run_main(flow, epoch_interval=timedelta(seconds=EPOCH_S), recovery_config=recovery)  # type: ignore[no-untyped-call]


def send(log: MemoryLog, *numbers: int) -> None:
    line = '{{"event_id":"e{0}","type":"impression","ts":1780008000000,"campaign_id":"c","cost_micros":1}}'
    log.append(EVENTS, 0, [line.format(number).encode() for number in numbers])


def leave_over(newer: Path, store: Path) -> None:
    """Write what a later run kept of its stages into the epoch that `store` resumes at, as a kill leaves it."""
    with sqlite3.connect(newer / "part-0.sqlite3") as later, sqlite3.connect(store / "part-0.sqlite3") as kept:
        (resume,) = kept.execute("SELECT MAX(worker_frontier) FROM fronts").fetchone()
        for stage in STAGES:
            key, state = later.execute(
                "SELECT state_key, ser_change FROM snaps WHERE step_id = ? ORDER BY snap_epoch DESC", (stage,)
            ).fetchone()
            row = (stage, key, resume, state)
            kept.execute("INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)", row)


@pytest.mark.parametrize("touches", [True, False])
def test_a_snapshot_left_over_by_a_kill_is_not_gone_on_from(tmp_path: Path, touches: bool) -> None:
    log, store, newer = SlowLog(1), tmp_path / "store", tmp_path / "newer"
    store.mkdir()
    init_db_dir(store, 1)  # type: ignore[no-untyped-call]
    send(log, 1, 2)
    run(log, store, touches=touches)
    shutil.copytree(store, newer)
    send(log, 3, 4)
    run(log, newer, touches=touches)
    leave_over(newer, store)
    # The next run closes some epochs before it reads anything, and is killed.
    log.killed_at_s = time.monotonic() + AWAY_S
    with pytest.raises(BytewaxRuntimeError):
        run(log, store, touches=touches)
    log.killed_at_s = None
    run(log, store, touches=touches)
    duplicates, _ = flow_runs.judged(log)
    # Without the touch Bytewax goes on from what was left over: events that are read again were seen before.
    assert bool(duplicates) is not touches


def test_a_run_that_is_stopped_before_it_began_leaves_no_other_state_in_force(tmp_path: Path) -> None:
    log, store, newer = SlowLog(1), tmp_path / "store", tmp_path / "newer"
    store.mkdir()
    init_db_dir(store, 1)  # type: ignore[no-untyped-call]
    # Killed in its first epoch: what it kept of the shard stays, and no epoch was closed.
    shutil.copytree(store, newer)
    send(log, 1, 2)
    run(log, newer, touches=True)
    leave_first_over(newer, store)
    source = SourceOptions(ends=True, touches=True)
    flow = build(FlowSettings(dedupe_ids=8_192, source=source), log, meter=Meter(), stopping=lambda: True)
    recovery = RecoveryConfig(store, timedelta(0))  # type: ignore[no-untyped-call]
    run_main(flow, epoch_interval=timedelta(seconds=EPOCH_S), recovery_config=recovery)  # type: ignore[no-untyped-call]
    run(log, store, touches=True)
    duplicates, _ = flow_runs.judged(log)
    assert not duplicates


def leave_first_over(newer: Path, store: Path) -> None:
    """Write what a run kept of its stages into the first epoch of a store in which none was ever closed."""
    with sqlite3.connect(newer / "part-0.sqlite3") as later, sqlite3.connect(store / "part-0.sqlite3") as kept:
        for stage in STAGES:
            key, state = later.execute(
                "SELECT state_key, ser_change FROM snaps WHERE step_id = ? ORDER BY snap_epoch DESC", (stage,)
            ).fetchone()
            row = (stage, key, 1, state)
            kept.execute("INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)", row)
