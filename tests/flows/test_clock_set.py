"""A flow in a process of its own whose machine's clock is set: ticks, events and snapshots go on."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.partition import GROUP
from schemas.log import Log
from schemas.topics import EVENTS, ORDER
from tests.support import flow_runs
from tests.support.flow_child import FlowSpec
from tests.support.needs import need

HOUR_MS = 3_600_000
LEAPS_MS = {"+1 h": HOUR_MS, "+1 day": 24 * HOUR_MS, "-1 h": -HOUR_MS}
DEADLINE_S = 90.0
# Bytewax ends epochs by the wall clock: how long it takes to see that it does not any more, and to begin anew.
SOURCE = Path(__file__).parent.parent / "support" / "clock_shift.c"

pytestmark = pytest.mark.slow


class Wall:
    """The wall clock of a process, set from here."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        need(sys.platform == "linux" and compiler is not None, "no C compiler on Linux to move a process's clock with")
        self.path = folder / "shift"
        self.path.write_bytes(bytes(8))
        self.library = folder / "clock_shift.so"
        command = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(self.library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_PRELOAD": str(self.library), "CLOCK_SHIFT_FILE": str(self.path)}

    def set_ahead(self, ms: int) -> None:
        with self.path.open("r+b") as file:
            file.write(struct.pack("q", ms))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def more_ticks(log: Log, count: int) -> None:
    end = log.end(ORDER, 0)

    def came() -> bool:
        chunk = log.read(ORDER, 0, end, 2**20)
        return chunk is not None and len(chunk.records()) >= count

    until(came, f"the clock did not tick {count} times")


def send(log: Log, number: int) -> int:
    ts_ms = time.time_ns() // 1_000_000
    line = f'{{"event_id":"e{number}","type":"impression","ts":{ts_ms},"campaign_id":"c","cost_micros":1}}'
    return log.append(EVENTS, 0, [line.encode()])


def judged(log: Log) -> int:
    spans = flow_runs.verdicts(log).get(0, [])
    return max((one.next_offset for one in spans), default=0)


def test_events_ticks_and_snapshots_go_on_when_the_clock_is_set_and_set_right(tmp_path: Path) -> None:
    """Three flows at once, each with a leap of its own: what takes long is that they wait for epochs."""
    folders = {name: tmp_path / name for name in LEAPS_MS}
    for folder in folders.values():
        folder.mkdir()
    walls = {name: Wall(folder) for name, folder in folders.items()}
    with ThreadPoolExecutor(len(LEAPS_MS)) as pool:
        runs = {name: pool.submit(went_on, folders[name], walls[name], LEAPS_MS[name]) for name in LEAPS_MS}
    assert {name: run.result() for name, run in runs.items()} == dict.fromkeys(LEAPS_MS, True)


def went_on(folder: Path, wall: Wall, leap_ms: int) -> bool:
    """Whether a flow whose clock was set by so much, and set right, ended as it should; it must go on meanwhile."""
    spec = FlowSpec(root=str(folder), partitions=1, epoch_seconds=0.3)
    log = spec.open_log()
    flow = subprocess.Popen(spec.command(), env=wall.environment())
    try:
        more_ticks(log, 2)
        for number, ms in enumerate((0, leap_ms, 0)):
            wall.set_ahead(ms)
            end = send(log, number)
            until(lambda end=end: judged(log) >= end, f"the event sent with the clock {ms} ms ahead was not read")
            more_ticks(log, 3)
            until(
                lambda end=end: (log.committed(GROUP, EVENTS, 0) or 0) >= end,
                f"no snapshot was taken with the clock {ms} ms ahead",
            )
        assert flow.poll() is None
        assert flow_runs.dead_letter_ids(log) == set()
    finally:
        flow.terminate()
        ended = flow.wait(timeout=DEADLINE_S)
        log.close()
    return ended == 0
