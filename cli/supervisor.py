"""Child processes of one machine: started in order, restarted when they die, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# Waits between restarts of a child that keeps dying, in seconds; the last one repeats.
BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0)
# A child that ran this long has recovered: its back-off starts anew.
HEALTHY_S: Final = 60.0
# How long a child may take to end before it is killed.
GRACE_S: Final = 8.0
# A child's log file is rotated once at this size, so that logs never fill the disk.
LOG_BYTES_MAX: Final = 16 * 2**20

_PR_SET_PDEATHSIG: Final = 1


def backoff_s(restarts: int) -> float:
    """The wait before restart number `restarts` (from 0).

    >>> backoff_s(0), backoff_s(99)
    (0.5, 15.0)
    """
    return BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)]


@dataclass(slots=True)
class Child:
    """One supervised command; `argv` are the words behind `penstock`."""

    name: str
    argv: Sequence[str]
    # True once the process answers.
    ready: Callable[[], bool]
    # Start only when every child before this one is ready.
    waits: bool = False
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started_s: float = 0.0
    restart_at_s: float | None = None
    exits: list[int] = field(default_factory=list)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Keeps children running until `stop`."""

    def __init__(
        self, children: Sequence[Child], *, log_dir: Path, report: Callable[[str], None], executable: Sequence[str] = ()
    ) -> None:
        self._children = list(children)
        self._log_dir = log_dir
        self._report = report
        self._executable = tuple(executable) or (sys.executable, "-m", "cli.main")
        self._stopping = False

    def start(self, *, ready_within_s: float, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Start every child, those that wait when the ones before are ready. False: one was not ready in time."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        started: list[Child] = []
        for child in self._children:
            if child.waits and not self._until_ready(started, ready_within_s, stopped):
                return False
            self._spawn(child)
            started.append(child)
        return self._until_ready(started, ready_within_s, stopped)

    def watch(self) -> None:
        """Restart what died and is due again; call it a few times a second."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None or child.alive() or self._stopping:
                continue
            if child.restart_at_s is None:
                self._plan_restart(child, now)
            elif now >= child.restart_at_s:
                child.restart_at_s = None
                self._spawn(child)

    def stop(self) -> None:
        """End the children, the last started first; kill those that do not end within GRACE_S."""
        self._stopping = True
        for child in reversed(self._children):
            if child.alive() and child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for child in reversed(self._children):
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._report(f"{child.name} did not end in {GRACE_S:.0f} s and was killed")
                child.process.kill()
                child.process.wait()

    def _until_ready(self, children: Sequence[Child], within_s: float, stopped: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + within_s
        waiting = list(children)
        while waiting and not stopped():
            waiting = [child for child in waiting if not child.ready()]
            if waiting and time.monotonic() > deadline:
                for child in waiting:
                    self._report(f"{child.name} was not ready in {within_s:.0f} s; see {self._log_path(child)}")
                return False
            self.watch()
            time.sleep(0.05)
        return not stopped()

    def _plan_restart(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process is not None else 0
        child.exits = [*child.exits[-9:], code]
        if now - child.started_s > HEALTHY_S:
            child.restarts = 0
        wait = backoff_s(child.restarts)
        child.restarts += 1
        child.restart_at_s = now + wait
        self._report(f"{child.name} ended with code {code}; restart in {wait:g} s; see {self._log_path(child)}")

    def _log_path(self, child: Child) -> Path:
        return self._log_dir / f"{child.name}.log"

    def _spawn(self, child: Child) -> None:
        path = self._log_path(child)
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            child.process = subprocess.Popen(
                [*self._executable, *child.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                start_new_session=True,
            )
        child.started_s = time.monotonic()


def _end_with_parent() -> None:
    """In the child: have the kernel end it when the supervisor itself is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
