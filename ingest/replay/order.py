"""Events of several unsorted files in the order of their time, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

# Events sorted in memory at once, about 150 MB; more go to sorted files that are merged.
RUN_EVENTS: Final = 250_000


class Timed(NamedTuple):
    """An event's time and its JSON, in one line; sorts by time."""

    ts_ms: int
    record: bytes


class TimeOrder:
    """Takes events in any order and gives them back by time; equal times keep their order.

    Files for what does not fit go to `folder`, which the caller removes.
    """

    def __init__(self, folder: Path, *, run_events: int = RUN_EVENTS) -> None:
        self._folder = folder
        self._run_events = run_events
        self._fresh: list[Timed] = []
        self._runs: list[Path] = []
        self.count = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None

    def take(self, events: Iterable[Timed]) -> None:
        """Keep events. Raises OSError when the folder is full."""
        for event in events:
            self._fresh.append(event)
            self.count += 1
            self.first_ms = event.ts_ms if self.first_ms is None else min(self.first_ms, event.ts_ms)
            self.last_ms = event.ts_ms if self.last_ms is None else max(self.last_ms, event.ts_ms)
            if len(self._fresh) >= self._run_events:
                self._spill()

    def in_order(self) -> Iterator[Timed]:
        """All events by time."""
        self._fresh.sort(key=_time)
        runs = [_read_run(path) for path in self._runs]
        return heapq.merge(*runs, self._fresh, key=_time)

    def _spill(self) -> None:
        self._fresh.sort(key=_time)
        path = self._folder / f"run-{len(self._runs):06d}"
        with path.open("wb") as file:
            file.writelines(b"%d %b\n" % event for event in self._fresh)
        self._runs.append(path)
        self._fresh = []


def _time(event: Timed) -> int:
    return event.ts_ms


def _read_run(path: Path) -> Iterator[Timed]:
    with path.open("rb") as file:
        for line in file:
            ts_ms, _, record = line.rstrip(b"\n").partition(b" ")
            yield Timed(int(ts_ms), record)
