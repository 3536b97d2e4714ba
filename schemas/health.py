"""Progress of processes: what a working loop says of itself, and how anyone who reads it tells well from stuck."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.live import LoopStatus, ProcessStatus

# A process reports once a second; one that missed so many reports is silent.
SILENT_S: Final = 15.0
# A loop that has not moved for so long is told of; a supervisor acts only after `PENSTOCK_STUCK_SECONDS`.
QUIET_S: Final = 15.0
# Reading a large state, loading kernels or making tables takes minutes at most.
START_S: Final = 600.0
# What lasts less is not worth telling.
WAITS_S: Final = 5.0
# A process that ended so often within ENDINGS_MS, and runs for less than SETTLED_S, is in a crash loop.
ENDINGS_MANY: Final = 3
ENDINGS_MS: Final = 600_000
SETTLED_S: Final = 60.0
REASON_MAX: Final = 300


class State(StrEnum):
    """What a reader makes of a process's reports."""

    OK = "ok"
    STARTING = "starting"
    # Works, but something outside it does not: restarting it would not help.
    WAITING = "waiting"
    # Reports, but its working loop does not move.
    STUCK = "stuck"
    # Is there and reports nothing: stopped by a signal, or starved.
    SILENT = "silent"
    # Ends again and again.
    CRASHING = "crashing"
    ENDED = "ended"
    STOPPED = "stopped"


class Loop:
    """What one working loop tells; cheap enough for every turn. One thread turns it, another reads it."""

    __slots__ = ("_blockers", "done", "idles", "name", "pending", "turns")

    def __init__(self, name: str, *, idles: bool = False) -> None:
        self.name = name
        # True: it does not turn while there is no work.
        self.idles = idles
        self.turns = 0
        self.done = 0
        # Counts the work that waits; an argument of the reading side, which calls it.
        self.pending: Callable[[], int] = lambda: 0
        self._blockers: dict[str, str] = {}

    def turn(self) -> None:
        """The loop came round, with or without work."""
        self.turns += 1

    def did(self, units: int = 1) -> None:
        """So much work is done."""
        self.turns += 1
        self.done += units

    def waits_for(self, what: str, who: str = "") -> None:
        """Something outside the process must come first; `who` of several users of this loop says so."""
        if self._blockers.get(who) != what:
            self._blockers = {**self._blockers, who: what[:REASON_MAX]}

    def goes_on(self, who: str = "") -> None:
        """What `who` waited for came."""
        if who in self._blockers:
            self._blockers = {name: what for name, what in self._blockers.items() if name != who}

    @property
    def blocked(self) -> str:
        """What it waits for; empty when for nothing."""
        return next(iter(self._blockers.values()), "")


@dataclass(slots=True)
class Progress:
    """The loops of one process. `starting` says what is under way before they turn; None once they do."""

    starting: str | None = "starts"
    loops: dict[str, Loop] = field(default_factory=dict)

    def loop(self, name: str, *, idles: bool = False) -> Loop:
        """The loop of this name, made when first asked for; one that `idles` turns only when there is work."""
        if name not in self.loops:
            self.loops = {**self.loops, name: Loop(name, idles=idles)}
        return self.loops[name]

    def ready(self) -> None:
        """The start is over."""
        self.starting = None


@dataclass(slots=True)
class _Seen:
    turns: int = -1
    done: int = -1
    unturned_s: float = 0.0
    undone_s: float = 0.0
    blocked_s: float = 0.0


class Gauge:
    """Turns counters into "quiet for so long", reading by reading."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def read(self, loops: Mapping[str, Loop], passed_s: float) -> list[LoopStatus]:
        """How the loops are, `passed_s` after the last reading. A leap of the reader's own (a process that was
        stopped, a machine that slept) says nothing of the loops: the caller bounds passed_s."""
        return [self._one(loop, passed_s) for loop in loops.values()]

    def _one(self, loop: Loop, passed_s: float) -> LoopStatus:
        seen = self._seen.setdefault(loop.name, _Seen())
        waiting, blocked = max(0, loop.pending()), loop.blocked
        seen.unturned_s = 0.0 if loop.turns != seen.turns or loop.idles else seen.unturned_s + passed_s
        seen.undone_s = 0.0 if loop.done != seen.done or waiting == 0 else seen.undone_s + passed_s
        seen.blocked_s = seen.blocked_s + passed_s if blocked else 0.0
        seen.turns, seen.done = loop.turns, loop.done
        return LoopStatus(
            name=loop.name,
            done=loop.done,
            waiting=waiting,
            quiet_s=round(max(seen.unturned_s, seen.undone_s), 1),
            blocked=blocked,
            blocked_s=round(seen.blocked_s, 1),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state and its reason in words; empty when all is well."""

    state: State
    reason: str = ""

    @property
    def fine(self) -> bool:
        """Does its work."""
        return self.state == State.OK


def judge(status: ProcessStatus, silent_s: float, *, quiet_s: float = QUIET_S, stopped: bool = False) -> Verdict:
    """What the last report of a process means, `silent_s` after it came; `stopped`: the kernel says it is halted.

    >>> judge(ProcessStatus(now_ms=0, process="flow", host="", pid=7, started_ms=0, beat=1, state="running"), 20.0)
    Verdict(state=<State.SILENT: 'silent'>, reason='process 7 has not reported for 20 s: frozen, starved or cut off')
    """
    if status.state == "stopped":
        return Verdict(State.STOPPED, "was ended, as asked")
    if status.state == "ended":
        return _crashing(status) or Verdict(State.ENDED, status.reason or "has ended")
    if stopped:
        return Verdict(State.SILENT, f"process {status.pid} is halted (SIGSTOP or a debugger); SIGCONT lets it go on")
    if silent_s > SILENT_S:
        return Verdict(
            State.SILENT, f"process {status.pid} has not reported for {silent_s:.0f} s: frozen, starved or cut off"
        )
    return _crashing(status) or _running(status, quiet_s)


def _crashing(status: ProcessStatus) -> Verdict | None:
    young = status.now_ms - status.started_ms < 1_000 * SETTLED_S
    recent = [ending for ending in status.endings if status.now_ms - ending.at_ms < ENDINGS_MS]
    if len(recent) < ENDINGS_MANY or not young:
        return None
    return Verdict(State.CRASHING, f"ended {len(recent)} times in ten minutes, last: {recent[-1].reason}")


def _running(status: ProcessStatus, quiet_s: float) -> Verdict:
    for loop in status.loops:
        if loop.quiet_s > quiet_s and not loop.blocked and status.state != "starting":
            return Verdict(State.STUCK, _quiet(loop))
    blocked = [loop for loop in status.loops if loop.blocked and loop.blocked_s >= WAITS_S]
    if blocked:
        return _waiting(max(blocked, key=lambda loop: loop.blocked_s))
    if status.state != "starting":
        return Verdict(State.OK)
    lasting_s = (status.now_ms - status.started_ms) / 1_000
    if lasting_s > START_S:
        return Verdict(State.STUCK, f"still {status.reason} after {lasting_s:.0f} s")
    return Verdict(State.STARTING, status.reason)


def _waiting(loop: LoopStatus) -> Verdict:
    return Verdict(State.WAITING, f"{loop.name} has waited {loop.blocked_s:.0f} s for {loop.blocked}")


def _quiet(loop: LoopStatus) -> str:
    work = f" though {loop.waiting} wait" if loop.waiting else ""
    return f"its {loop.name} loop has not moved for {loop.quiet_s:.0f} s{work}"
