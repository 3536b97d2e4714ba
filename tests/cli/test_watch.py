"""The supervisor tells a frozen, a hung, a waiting and a falling child apart, and starts only the first two again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cli.last_words import reason_of
from cli.progress import Reporter, endings_of
from cli.supervisor import Child, Supervisor, bound_log
from cli.watch import Watch
from schemas.health import Progress, State, judge
from schemas.live import Ending, ProcessStatus
from storage import run_folder

# A process with one working loop; what it does in it comes from the test.
PROCESS = """
import sys, threading, time
from pathlib import Path
from cli.progress import reporting
from schemas.health import Progress
progress = Progress()
loop = progress.loop("work")
with reporting(Path({data!r}), "worker", progress):
    progress.ready()
    began = time.monotonic()
    while True:
        {body}
        loop.did()
        time.sleep(0.02)
"""
STUCK_S = 3.0


class Up:
    """A supervisor of one child, and what it says."""

    def __init__(self, tmp_path: Path, body: str) -> None:
        self.child = Child("worker", ["-c", PROCESS.format(data=str(tmp_path), body=body)], lambda: True)
        self.said: list[str] = []
        self.folder = run_folder.run_folder(tmp_path)
        self.watch = Watch(self.folder, stuck_s=STUCK_S)
        self.supervisor = Supervisor(
            [self.child],
            log_dir=tmp_path / "logs",
            report=self.said.append,
            executable=[sys.executable],
            watch=self.watch,
        )

    def until(self, condition: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.watch()
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self.child.process is not None
        return self.child.process.pid

    def state(self) -> State:
        return self.watch.verdict("worker", self.pid).state


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def start(body: str, ready: bool = True) -> Up:
        up = Up(tmp_path, body)
        made.append(up)
        assert up.supervisor.start(ready_within_s=60) == ready
        return up

    yield start
    for up in made:
        up.supervisor.stop()


Start = Callable[..., Up]


def test_a_frozen_process_is_told_and_started_again(started: Start) -> None:
    up = started("pass")
    first = up.pid
    os.kill(first, signal.SIGSTOP)
    up.until(lambda: up.pid != first and up.state() == State.OK)
    assert any("worker is stuck" in line and "halted (SIGSTOP" in line for line in up.said)
    assert not run_folder.is_there(first)


def test_a_loop_that_hangs_beside_a_thread_that_still_reports_is_started_again(started: Start, tmp_path: Path) -> None:
    flag = tmp_path / "hang"
    up = started(f"Path({str(flag)!r}).exists() and threading.Lock().acquire() and threading.Event().wait()")
    first = up.pid
    flag.touch()
    up.until(lambda: any("worker is stuck" in line for line in up.said))
    flag.unlink()
    assert "its work loop has not moved for" in "\n".join(up.said)
    up.until(lambda: up.pid != first and up.state() == State.OK)
    up.until(lambda: "worker works again" in up.said)


def test_a_process_that_waits_for_another_is_told_and_left_alone(started: Start, tmp_path: Path) -> None:
    flag = tmp_path / "away"
    flag.touch()
    waits = f"while Path({str(flag)!r}).exists(): loop.waits_for('ClickHouse: connection refused'); time.sleep(0.05)"
    up = started(f"exec({waits!r}); loop.goes_on()")
    first = up.pid
    up.until(lambda: any("for ClickHouse: connection refused" in line for line in up.said))
    deadline = time.monotonic() + 2 * STUCK_S
    up.until(lambda: time.monotonic() > deadline)
    assert up.pid == first
    flag.unlink()
    up.until(lambda: up.state() == State.OK)


def test_a_process_that_falls_over_again_and_again_is_told_with_its_reason(started: Start) -> None:
    up = started("raise ValueError('its state belongs to another log')", ready=False)
    assert up.child.restarts >= 3
    assert "ValueError: its state belongs to another log" in up.said[0]
    assert up.supervisor.troubles() == {"worker": "ValueError: its state belongs to another log"}
    [(status, _)] = run_folder.read_all(up.folder)
    assert len(status.endings) >= 3
    assert status.endings[-1].reason == "ValueError: its state belongs to another log"


def test_nobody_is_blamed_when_the_supervisor_itself_stood_still(tmp_path: Path) -> None:
    clock = [0.0]
    folder = run_folder.run_folder(tmp_path)
    reporter = Reporter(tmp_path, "worker", Progress(starting=None))
    reporter.start()
    reporter.stop()
    status, _ = run_folder.read_all(folder)[0]
    watch = Watch(folder, stuck_s=STUCK_S, clock_s=lambda: clock[0])
    assert watch.must_restart("worker", status.pid) is None
    clock[0] += 3_600.0
    watch.awake()
    assert watch.must_restart("worker", status.pid) is None
    for _ in range(4):
        clock[0] += 1.0
        watch.awake()
    assert "has not reported for 4 s" in (watch.must_restart("worker", status.pid) or "")


def test_an_end_without_a_word_is_remembered_by_the_next_start(tmp_path: Path) -> None:
    folder = run_folder.run_folder(tmp_path)
    reporter = Reporter(tmp_path, "worker", Progress(starting=None))
    reporter.start()
    status, _ = run_folder.read_all(folder)[0]
    gone = run_folder.as_seen_here(status, status.host)
    assert gone is status
    run_folder.write(folder, msgspec.structs.replace(status, pid=2**22 - 1))
    endings = endings_of(run_folder.read(folder, "worker"), status.host, status.now_ms)
    assert [ending.reason for ending in endings] == [run_folder.GONE]
    reporter.stop()
    assert endings_of(run_folder.read(folder, "worker"), status.host, status.now_ms) == []


def test_what_fell_before_a_new_start_is_not_told_of_as_falling(tmp_path: Path) -> None:
    folder, now_ms = run_folder.run_folder(tmp_path), time.time_ns() // 1_000_000
    fell = [Ending(at_ms=now_ms - 1_000 * n, reason="another log") for n in (3, 2, 1)]
    old = ProcessStatus(
        now_ms=now_ms, process="worker", host=socket.gethostname(), pid=2**22 - 1, started_ms=now_ms, beat=7,
        state="ended", reason="another log", endings=fell,
    )  # fmt: skip
    elsewhere = msgspec.structs.replace(old, process="flow-1", host="elsewhere")
    alive = msgspec.structs.replace(old, process="demo", pid=os.getpid(), state="running")
    for status in (old, elsewhere, alive):
        run_folder.write(folder, status)
    Watch(folder, stuck_s=STUCK_S).begin()
    reporter = Reporter(tmp_path, "worker", Progress(starting=None))
    reporter.start()
    told = {status.process: status for status, _ in run_folder.read_all(folder)}
    reporter.stop()
    assert judge(told["worker"], 0.0).state == State.OK
    assert told["worker"].endings == []
    # What another machine said, or a process that was not started here, stays as it is.
    assert (told["flow-1"], told["demo"]) == (elsewhere, alive)


def test_a_report_is_written_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder.run_folder(tmp_path)
    reporter = Reporter(tmp_path, "worker", Progress(starting=None))
    reporter.start()
    status, _ = run_folder.read_all(folder)[0]
    real = os.open

    def full(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(28, "No space left on device")
        return real(path, flags, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    run_folder.write(folder, msgspec.structs.replace(status, beat=99))
    monkeypatch.undo()
    assert run_folder.read_all(folder)[0][0].beat >= 99
    assert (folder / "worker.json").stat().st_mode & 0o777 == 0o600
    reporter.stop()


def test_a_log_stays_bounded_while_its_process_writes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("ab") as log:
        log.write(b"x" * 2_000)
        log.flush()
        bound_log(path, bytes_max=1_000)
        log.write(b"more")
        log.flush()
    assert path.read_bytes() == b"more"
    assert path.with_suffix(".log.1").stat().st_size == 2_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "", id="nothing said"),
        pytest.param("2026-01-01 ERROR flow: the disk is full\nbye", "flow: the disk is full", id="a logged error"),
        pytest.param("Traceback\n  x\na.b.StoreError: another log\n", "StoreError: another log", id="an exception"),
        pytest.param(
            "thread '<unnamed>' panicked at src/recovery.rs:626:22:\n"
            "called `Result::unwrap()` on an `Err` value: SqliteFailure(DiskFull)\nstack backtrace:\n   0: rust_begin",
            "SqliteFailure(DiskFull)",
            id="a panic of the dataflow's engine",
        ),
        pytest.param('{"level":"ERROR","message":"m","exception":"T\\nOSError: x"}', "OSError: x", id="a JSON line"),
    ],
)
def test_the_reason_of_an_end_is_found_in_the_log(text: str, reason: str) -> None:
    assert reason_of(text) == reason
