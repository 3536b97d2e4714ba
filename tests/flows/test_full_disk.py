"""The disk under the flow's state is full: it waits where it is, says for what, and goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.local_log import LocalLog
from schemas.health import State, judge
from schemas.topics import EVENTS
from storage import run_folder
from tests.storage.test_full_disk import leave_free, small_disk
from tests.support import flow_runs

__all__ = ["small_disk"]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 180.0
# Many epochs, of half a second.
FULL_S = 3.0

pytestmark = pytest.mark.slow


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def settings(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PENSTOCK_DATA_DIR": str(folder),
        "PENSTOCK_PARTITIONS": "1",
        "PENSTOCK_EPOCH_SECONDS": "0.5",
        "PENSTOCK_DEDUPE_IDS": "65536",
        "PENSTOCK_METRICS_PORT": "0",
    }


@pytest.fixture
def log(small_disk: Path) -> Iterator[LocalLog]:
    opened = LocalLog(small_disk / "log", partitions=1)
    yield opened
    opened.close()


@pytest.fixture
def flow(small_disk: Path, log: LocalLog) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cli.main", "flow"]
    running = subprocess.Popen(command, cwd=ROOT, env=settings(small_disk))
    try:
        yield running
    finally:
        running.terminate()
        running.wait(timeout=DEADLINE_S)


def send(log: LocalLog, seed: int) -> int:
    lines = [line for _, line in flow_runs.event_lines(500, seed)]
    return log.append(EVENTS, 0, lines)


def judged(log: LocalLog) -> int:
    return max((one.next_offset for one in flow_runs.verdicts(log).get(0, [])), default=0)


def says_why_it_waits(folder: Path, pid: int) -> bool:
    found = run_folder.read(run_folder.run_folder(folder), "flow")
    if found is None or found[0].pid != pid:
        return False
    verdict = judge(*found)
    return verdict.state == State.WAITING and "room on the disk" in verdict.reason


def test_on_a_full_disk_the_flow_waits_where_it_is_and_says_so(
    small_disk: Path, log: LocalLog, flow: subprocess.Popen[bytes]
) -> None:
    end = send(log, 1)
    until(lambda: judged(log) >= end, "the first events are judged")
    leave_free(small_disk, 0)
    full_until_s = time.monotonic() + FULL_S
    while time.monotonic() < full_until_s:
        assert flow.poll() is None, f"the flow ended with code {flow.returncode}"
        time.sleep(0.1)

    until(lambda: says_why_it_waits(small_disk, flow.pid), "the report says that it waits for room")
    (small_disk / "filler").unlink()
    end = send(log, 2)
    until(lambda: judged(log) >= end, "what came after there was room again is judged")
    assert flow.poll() is None


def test_a_flow_that_starts_on_a_full_disk_waits_for_room(small_disk: Path, log: LocalLog) -> None:
    send(log, 1)
    command = [sys.executable, "-m", "cli.main", "flow", "--until-end"]
    subprocess.run(command, cwd=ROOT, env=settings(small_disk), check=True, timeout=DEADLINE_S)
    end = send(log, 2)
    leave_free(small_disk, 0)
    with subprocess.Popen(command, cwd=ROOT, env=settings(small_disk)) as flow:
        try:
            until(lambda: flow.poll() is not None or says_why_it_waits(small_disk, flow.pid), "it says that it waits")
            assert flow.poll() is None, f"the flow ended with code {flow.returncode}"
            (small_disk / "filler").unlink()
            assert flow.wait(timeout=DEADLINE_S) == 0
        finally:
            flow.kill()
    assert judged(log) >= end
