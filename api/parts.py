"""The parts that an api stands on: what each process last said of its progress, here or on another machine."""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from api import metrics
from schemas.health import State, Verdict, judge
from schemas.live import ProcessStatus
from storage.run_folder import as_seen_here, is_halted

# Processes of other machines that are remembered; the one heard of least recently goes first.
PROCESSES_MAX: Final = 300
# A machine that said nothing for so long was taken away, as long as others do its work.
FORGET_S: Final = 600.0
OWN: Final = ("log", "control", "serving")
PROCESSES: Final = ("flow", "store", "actuate", "clickhouse")
KNOWN: Final = (*OWN, *PROCESSES)
# A state of a process that is no trouble of its own: nobody is to be alarmed by the order of a start.
_START: Final = {"flow": "penstock flow", "store": "penstock store", "actuate": "penstock actuate"}


def ready_parts(text: str) -> frozenset[str]:
    """The parts that a comma-separated list names. Raises ValueError.

    >>> sorted(ready_parts("log, flow"))
    ['flow', 'log']
    """
    named = frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := named - set(KNOWN):
        raise ValueError(f"{sorted(unknown)[0]!r} is no part; there are {', '.join(KNOWN)}")
    return named


@dataclass(frozen=True, slots=True)
class Instance:
    """One process and what to think of it; `age_s` is how old its last report is."""

    status: ProcessStatus
    age_s: float
    verdict: Verdict

    @property
    def part(self) -> str:
        """What it is a process of: the processes of a cluster are `flow-0`, `flow-1`."""
        return self.status.process.partition("-")[0]


class Parts:
    """Follows the reports of all processes, and the answers of ClickHouse."""

    def __init__(
        self,
        reports: Callable[[], Sequence[tuple[ProcessStatus, float]]] = lambda: (),
        *,
        clock_s: Callable[[], float] = time.monotonic,
        host: str = "",
    ) -> None:
        self._reports = reports
        self._clock_s = clock_s
        self._host = host or socket.gethostname()
        self._heard: OrderedDict[tuple[str, str], tuple[ProcessStatus, float]] = OrderedDict()
        self._measuring = threading.Lock()
        self._skew_s: dict[tuple[str, str], float] = {}
        # What asking ClickHouse came to; None while nobody asks.
        self.clickhouse: str | None = None

    def take(self, status: ProcessStatus, age_s: float = 0.0, skew_s: float = 0.0) -> None:
        """A report came over topic `live`; `age_s` old when it came (at the start the log is read from its begin).
        Its machine's clock is ahead of this one's by `skew_s`."""
        key = status.process, status.host
        self._skew_s[key] = skew_s
        before = self._heard.get(key)
        if before is not None and (before[0].started_ms, before[0].beat) == (status.started_ms, status.beat):
            return
        self._heard[key] = status, self._clock_s() - age_s
        self._heard.move_to_end(key)
        while len(self._heard) > PROCESSES_MAX:
            gone, _ = self._heard.popitem(last=False)
            self._skew_s.pop(gone, None)

    def instances(self) -> list[Instance]:
        """Every process there is, by name and machine. Reads small files."""
        now_s = self._clock_s()
        found = {key: (status, now_s - at_s) for key, (status, at_s) in self._heard.items()}
        for status, age_s in self._reports():
            # A report of this machine is told by its file, also when the log takes nothing.
            found[status.process, status.host] = status, age_s
        rows = [self._judged(status, age_s) for status, age_s in found.values()]
        return sorted(_without_old(rows), key=lambda row: (row.status.process, row.status.host))

    def _judged(self, status: ProcessStatus, age_s: float) -> Instance:
        here = status.host == self._host
        stopped = here and status.state == "running" and is_halted(status.pid)
        return Instance(status, age_s, judge(as_seen_here(status, self._host), age_s, stopped=stopped))

    def measure(self) -> None:
        """Set the metrics of all processes; those that are gone have none."""
        rows = self.instances()
        with self._measuring:
            self._measure(rows)

    def _measure(self, rows: Sequence[Instance]) -> None:
        for gauge in (metrics.PROCESS_WELL, metrics.PROCESS_STATE, metrics.PROCESS_WAITING, metrics.PROCESS_SKEW):
            gauge.clear()
        for row in rows:
            of = row.status.process, row.status.host
            metrics.PROCESS_WELL.labels(*of).set(row.verdict.fine)
            metrics.PROCESS_STATE.labels(*of, row.verdict.state).set(1)
            metrics.PROCESS_WAITING.labels(*of).set(row.status.waiting)
            metrics.PROCESS_SKEW.labels(*of).set(self._skew_s.get(of, 0.0))
        if self.clickhouse is not None:
            metrics.CLICKHOUSE_ANSWERS.set(self.clickhouse == "ok")

    def said(self, expected: Iterable[str]) -> dict[str, str]:
        """By part `ok`, or what is wrong in words: of those expected here and of those that have reported."""
        rows = self.instances()
        wanted = [part for part in PROCESSES if part in set(expected) or any(row.part == part for row in rows)]
        return {part: self._part(part, [row for row in rows if row.part == part]) for part in wanted}

    def _part(self, part: str, rows: Sequence[Instance]) -> str:
        if part == "clickhouse" and self.clickhouse not in (None, "ok"):
            troubled = [row.verdict for row in rows if not row.verdict.fine]
            return _words(troubled[0]) if troubled else str(self.clickhouse)
        if not rows:
            if part == "clickhouse" and self.clickhouse is not None:
                return self.clickhouse
            return f"has not reported; is `{_START.get(part, 'penstock up')}` running?"
        by_name: dict[str, list[Instance]] = {}
        for row in rows:
            by_name.setdefault(row.status.process, []).append(row)
        # Of one name one process must be well; every name must have one.
        best = [next((row for row in same if row.verdict.fine), same[-1]) for same in by_name.values()]
        wrong = next((row for row in best if not row.verdict.fine), None)
        return "ok" if wrong is None else _words(wrong.verdict)


def _words(verdict: Verdict) -> str:
    return f"{verdict.state}: {verdict.reason}"


def _without_old(rows: Sequence[Instance]) -> list[Instance]:
    """Without those that are gone for good: others do their work, or they were asked to end and others were not."""
    alive = {row.part for row in rows if row.verdict.state not in (State.SILENT, State.STOPPED, State.ENDED)}
    gone = (State.SILENT, State.STOPPED, State.ENDED)
    return [
        row
        for row in rows
        if not (
            row.part in alive
            and row.verdict.state in gone
            and (row.age_s > FORGET_S or row.verdict.state == State.STOPPED)
        )
    ]
