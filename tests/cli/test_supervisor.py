"""Children are started, restarted with growing waits, and ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.supervisor import BACKOFF_S, Child, Supervisor, backoff_s

SLEEPER = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def child(name: str, code: str) -> Child:
    made = Child(name, ["-c", code], lambda: False)
    made.ready = made.alive
    return made


def supervise(tmp_path: Path, *children: Child) -> tuple[Supervisor, list[str]]:
    said: list[str] = []
    return Supervisor(children, log_dir=tmp_path, report=said.append, executable=[sys.executable]), said


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def until_said(supervisor: Supervisor, said: list[str]) -> None:
    def spoken() -> bool:
        supervisor.watch()
        return bool(said)

    until(spoken)


def test_a_killed_child_is_told_as_killed_not_by_the_last_line_of_its_log(tmp_path: Path) -> None:
    chatty = child("chatty", "import time; print('penstock flow: one process, 1 shard(s)', flush=True); time.sleep(60)")
    supervisor, said = supervise(tmp_path, chatty)
    assert supervisor.start(ready_within_s=60)
    try:
        until(lambda: "one process" in (tmp_path / "chatty.log").read_text())
        assert chatty.process is not None
        os.kill(chatty.process.pid, signal.SIGKILL)
        chatty.process.wait()
        until_said(supervisor, said)
        assert "killed by SIGKILL" in said[0]
        assert "one process" not in said[0]
    finally:
        supervisor.stop()


def test_a_full_disk_is_the_reason_when_the_log_has_no_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=4096))
    supervisor, said = supervise(tmp_path, child("full", "raise SystemExit(1)"))
    supervisor.start(ready_within_s=2)
    try:
        until_said(supervisor, said)
        assert f"the disk of {tmp_path} is full; free space" in said[0]
    finally:
        supervisor.stop()


def test_waits_between_restarts_grow_to_a_limit() -> None:
    assert [backoff_s(n) for n in range(7)] == [*BACKOFF_S, BACKOFF_S[-1], BACKOFF_S[-1]]


def test_a_child_that_dies_is_restarted_and_its_end_is_reported(tmp_path: Path) -> None:
    sleeper = child("sleeper", SLEEPER)
    supervisor, said = supervise(tmp_path, sleeper)
    assert supervisor.start(ready_within_s=60)
    try:
        assert sleeper.process is not None
        first = sleeper.process.pid
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            supervisor.watch()
            return sleeper.alive() and sleeper.process is not None and sleeper.process.pid != first

        until(again)
        assert "sleeper ended with code -9" in said[0]
    finally:
        supervisor.stop()


def test_a_child_that_waits_starts_only_when_those_before_it_are_ready(tmp_path: Path) -> None:
    first, second = child("first", SLEEPER), child("second", SLEEPER)
    first.ready = lambda: False
    second.waits = True
    supervisor, said = supervise(tmp_path, first, second)
    try:
        assert not supervisor.start(ready_within_s=0.2)
        assert second.process is None
        assert "first was not ready" in said[0]
    finally:
        supervisor.stop()


def test_stop_ends_every_child(tmp_path: Path) -> None:
    children = [child("a", SLEEPER), child("b", SLEEPER)]
    supervisor, _ = supervise(tmp_path, *children)
    assert supervisor.start(ready_within_s=60)
    supervisor.stop()
    assert not any(c.alive() for c in children)


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.supervisor.GRACE_S", 0.3)
    stubborn = child("stubborn", STUBBORN)
    supervisor, said = supervise(tmp_path, stubborn)
    assert supervisor.start(ready_within_s=60)
    until(lambda: b"up" in (tmp_path / "stubborn.log").read_bytes())
    supervisor.stop()
    assert not stubborn.alive()
    assert "was killed" in said[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_children_end_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cli.supervisor import *; "
        f"c = Child('s', ['-c', {SLEEPER!r}], lambda: True); "
        f"s = Supervisor([c], log_dir=Path({str(tmp_path)!r}), report=print, executable=[sys.executable]); "
        "s.start(ready_within_s=60); print(c.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False
