"""Child processes of one machine: started in order, restarted when they die, ended together."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.itself import itself
from cli.last_words import last_words
from cli.watch import Watch
from schemas.health import State, Verdict

# Waits between restarts of a child that keeps dying, in seconds; the last one repeats.
BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 15.0)
# A child that ran this long has recovered: its back-off starts anew.
HEALTHY_S: Final = 60.0
# How long a child may take to end before it is killed.
GRACE_S: Final = 8.0
# A child's log file is rotated once at this size, so that logs never fill the disk.
LOG_BYTES_MAX: Final = 16 * 2**20

# Reports come once a second.
LOOK_EVERY_S: Final = 1.0
# A child that ended so often in a row is not waited for at the start.
HOPELESS: Final = 3

# With less room a log may lack the reason: a snapshot, a page of SQLite or the line itself did not fit.
DISK_FULL_BYTES: Final = 2**20

_SIGNALS: Final = {number.value: number.name for number in signal.Signals}
_PR_SET_PDEATHSIG: Final = 1


def backoff_s(restarts: int) -> float:
    """The wait before restart number `restarts` (from 0).

    >>> backoff_s(0), backoff_s(99)
    (0.5, 15.0)
    """
    return BACKOFF_S[min(restarts, len(BACKOFF_S) - 1)]


def reason_of_end(code: int, words: str, free_bytes: int | None, folder: Path) -> str:
    """Why a child ended on its own: `words` are the last of its log, which a full disk or a signal cuts short.

    >>> reason_of_end(-9, "one process, 1 shard(s)", None, Path("logs"))
    'killed by SIGKILL, from outside or for want of memory'
    """
    if code < 0 and code != -signal.SIGABRT:
        name = _SIGNALS.get(-code, f"signal {-code}")
        from_where = ", from outside or for want of memory" if code == -signal.SIGKILL else ""
        return f"killed by {name}{from_where}"
    if free_bytes is not None and free_bytes < DISK_FULL_BYTES:
        return f"the disk of {folder} is full; free space, and it goes on by itself"
    return words or f"ended with code {code}"


def free_bytes(folder: Path) -> int | None:
    """What the folder's disk still takes, in bytes; None: it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


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
    # Where the log of this run begins.
    log_offset: int = 0
    # Why it is being ended, and when it is killed if it does not end.
    doubt: str | None = None
    kill_at_s: float = 0.0
    # What was last told of it.
    told: State = State.OK
    told_reason: str = ""

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Keeps children running until `stop`."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        log_dir: Path,
        report: Callable[[str], None],
        executable: Sequence[str] = (),
        watch: Watch | None = None,
    ) -> None:
        self._children = list(children)
        self._log_dir = log_dir
        self._report = report
        self._executable = tuple(executable) or tuple(itself())
        self._watch = watch
        self._looked_s = 0.0
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
        """Restart what died and is due again, end what is stuck; call it a few times a second."""
        now = time.monotonic()
        if self._watch is not None:
            self._watch.awake()
        if now - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now
            for child in self._children:
                self._look(child, now)
        for child in self._children:
            if child.process is None or child.alive() or self._stopping:
                continue
            if child.restart_at_s is None:
                self._plan_restart(child, now)
            elif now >= child.restart_at_s:
                child.restart_at_s = None
                self._spawn(child)

    def troubles(self) -> dict[str, str]:
        """What does not work, by child, with the reason."""
        return {child.name: self._trouble(child) for child in self._children if not self._is_ready(child)}

    def _trouble(self, child: Child) -> str:
        if child.process is None:
            return "starts when those before it work"
        if not child.alive() or child.restarts >= HOPELESS:
            return child.told_reason or "has ended"
        if self._watch is None:
            return "does not answer"
        verdict = self._watch.verdict(child.name, child.process.pid)
        return verdict.reason or "does not answer"

    def _is_ready(self, child: Child) -> bool:
        if child.process is None or not child.ready():
            return False
        return self._watch is None or self._watch.verdict(child.name, child.process.pid).fine

    def _look(self, child: Child, now: float) -> None:
        """Bound its log; end it when it is stuck; tell once when its state changes."""
        bound_log(self._log_path(child))
        if self._watch is None or child.process is None or not child.alive() or self._stopping:
            return
        if child.doubt is not None:
            if now >= child.kill_at_s:
                child.process.kill()
            return
        child.doubt = self._watch.must_restart(child.name, child.process.pid)
        if child.doubt is not None:
            self._report(f"{child.name} is stuck and is started again: {child.doubt}")
            child.kill_at_s = now + GRACE_S
            child.process.send_signal(signal.SIGTERM)
            # A halted process takes no other signal before it goes on.
            child.process.send_signal(signal.SIGCONT)
            return
        self._tell(child, self._watch.verdict(child.name, child.process.pid))

    def _tell(self, child: Child, verdict: Verdict) -> None:
        if verdict.state in (child.told, State.STARTING):
            return
        if verdict.fine:
            self._report(f"{child.name} works again")
        else:
            self._report(f"{child.name} is {verdict.state}: {verdict.reason}")
        child.told = verdict.state

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
            waiting = [child for child in waiting if not self._is_ready(child) and child.restarts < HOPELESS]
            if waiting and time.monotonic() > deadline:
                for child in waiting:
                    reason = self._trouble(child)
                    path = self._log_path(child)
                    self._report(f"{child.name} was not ready in {within_s:.0f} s: {reason}; see {path}")
                return False
            self.watch()
            time.sleep(0.05)
        return not stopped() and all(self._is_ready(child) for child in children)

    def _plan_restart(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process is not None else 0
        child.exits = [*child.exits[-9:], code]
        if now - child.started_s > HEALTHY_S:
            child.restarts = 0
        wait = backoff_s(child.restarts)
        child.restarts += 1
        child.restart_at_s = now + wait
        pid = child.process.pid if child.process is not None else 0
        words = last_words(self._log_path(child), child.log_offset)
        reason = child.doubt or reason_of_end(code, words, free_bytes(self._log_dir), self._log_dir)
        child.doubt = None
        again = " (again)" if reason == child.told_reason else f": {reason}"
        child.told, child.told_reason = State.ENDED, reason
        self._report(f"{child.name} ended with code {code}{again}; restart in {wait:g} s; see {self._log_path(child)}")
        if self._watch is not None:
            with suppress(OSError):
                self._watch.ended(child.name, pid, reason)

    def _log_path(self, child: Child) -> Path:
        return self._log_dir / f"{child.name}.log"

    def _spawn(self, child: Child) -> None:
        path = self._log_path(child)
        bound_log(path)
        with path.open("ab") as log:
            child.log_offset = log.tell()
            child.process = subprocess.Popen(
                [*self._executable, *child.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                start_new_session=True,
            )
        child.started_s = time.monotonic()


def bound_log(path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Move a log that has grown too large to `.log.1` and go on in an empty one; its process writes on meanwhile.

    What is written between copy and cut is lost: a few lines every 16 MiB.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return
        kept = path.with_suffix(".log.1")
        shutil.copyfile(path, kept)
    except OSError:
        # No room for the copy, or no log: an empty one is better than a full disk.
        pass
    with suppress(OSError):
        os.truncate(path, 0)


def _end_with_parent() -> None:
    """In the child: have the kernel end it when the supervisor itself is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
