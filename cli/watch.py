"""What the supervisor makes of its children's reports: who is well, who waits, and who must be started again.

Judged by the supervisor's own clock and by whether reports change, so neither a step of the wall clock nor a machine
that slept makes anybody look stuck.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from schemas.health import START_S, State, Verdict, judge
from schemas.live import Ending, ProcessStatus
from storage import run_folder

# The supervisor looks a few times a second: when it did not for so long, everything stood still, itself included.
LEAP_S: Final = 5.0
ENDINGS_KEPT: Final = 10


class Watch:
    """Follows the reports of children in the run folder."""

    def __init__(self, folder: Path, *, stuck_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        # 0: nobody is started again.
        self._stuck_s = stuck_s
        self._clock_s = clock_s
        self._looked_s = clock_s()
        # By child: which report was the last new one, and when it was seen.
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def begin(self) -> None:
        """A person starts everything anew: how processes of this machine ended before says nothing of this start."""
        host = socket.gethostname()
        for status, _ in run_folder.read_all(self._folder):
            if status.host != host or run_folder.is_there(status.pid):
                continue
            with suppress(OSError):
                run_folder.write(self._folder, msgspec.structs.replace(status, state="stopped", reason="", endings=[]))

    def awake(self) -> None:
        """Call it at every look: a leap of the clock counts for nobody."""
        now_s = self._clock_s()
        leap_s = now_s - self._looked_s
        self._looked_s = now_s
        if leap_s > LEAP_S:
            self._seen = {name: (key, at_s + leap_s) for name, (key, at_s) in self._seen.items()}

    def verdict(self, name: str, pid: int) -> Verdict:
        """How the process is doing."""
        found, silent_s = self._look(name, pid)
        if found is None:
            return Verdict(State.STARTING, "has not reported yet")
        return judge(found, silent_s, stopped=run_folder.is_halted(pid))

    def must_restart(self, name: str, pid: int) -> str | None:
        """The reason to start the process again; None while it works, waits for another part, or is merely slow."""
        if not self._stuck_s:
            return None
        found, silent_s = self._look(name, pid)
        if found is None:
            return f"has not reported once in {silent_s:.0f} s" if silent_s > max(START_S, self._stuck_s) else None
        if silent_s >= self._stuck_s:
            halted = "; it is halted (SIGSTOP or a debugger)" if run_folder.is_halted(pid) else ""
            return f"has not reported for {silent_s:.0f} s{halted}"
        verdict = judge(found, silent_s, quiet_s=self._stuck_s)
        return verdict.reason if verdict.state == State.STUCK else None

    def ended(self, name: str, pid: int, reason: str) -> None:
        """Put down how the process ended, for everyone who reads its report. Raises OSError."""
        before = run_folder.read(self._folder, name)
        now_ms = time.time_ns() // 1_000_000
        status = before[0] if before is not None else None
        if status is None or status.pid != pid:
            kept = status.endings if status is not None else []
            status = ProcessStatus(
                now_ms=now_ms, process=name, host=socket.gethostname(), pid=pid, started_ms=now_ms, beat=0,
                state="running", endings=kept,
            )  # fmt: skip
        # A process that could still write has put its own ending down; the supervisor's words are better.
        endings = status.endings[:-1] if status.state == "ended" else status.endings
        endings = [*endings, Ending(at_ms=now_ms, reason=reason)][-ENDINGS_KEPT:]
        ended = msgspec.structs.replace(status, now_ms=now_ms, state="ended", reason=reason, endings=endings)
        run_folder.write(self._folder, ended)

    def _look(self, name: str, pid: int) -> tuple[ProcessStatus | None, float]:
        """The process's own last report, None before the first, and for how many seconds there was no new one."""
        now_s = self._clock_s()
        found = run_folder.read(self._folder, name)
        status = found[0] if found is not None and found[0].pid == pid else None
        key = (pid, status.beat if status is not None else -1)
        if name not in self._seen or self._seen[name][0] != key:
            self._seen[name] = key, now_s
        return status, now_s - self._seen[name][1]
