"""One partition of the source, read step by step with a clock moved by hand."""

from __future__ import annotations

from dataclasses import dataclass

from flows.logic.step import Step
from flows.metrics import Meter
from flows.source import EventsPartition, EventsSource, Place, SourceOptions, Span
from schemas.topics import EVENTS, partition_of
from tests.support.memory_log import MemoryLog

PARTITIONS = 2
# The partition that the tests read, and a campaign that lives in it, and one that does not.
HERE = 1
AT_HOME = next(f"c{n}" for n in range(99) if partition_of(f"c{n}", PARTITIONS) == HERE)
ELSEWHERE = next(f"c{n}" for n in range(99) if partition_of(f"c{n}", PARTITIONS) != HERE)


@dataclass
class HandClock:
    """A clock moved by hand."""

    now_ms: int = 1_000_000
    set_back_ms: int = 0

    def wall_ms(self) -> int:
        return self.now_ms - self.set_back_ms

    def mono_s(self) -> float:
        return self.now_ms / 1_000


class Reader:
    """One partition, read step by step."""

    def __init__(self, log: MemoryLog, resumed: Place | None = None, **options: object) -> None:
        self.log = log
        self.clock = HandClock()
        self.meter = Meter()
        self.stopping = False
        source = EventsSource(log, self.clock, self.meter, SourceOptions(**options), lambda: self.stopping)  # type: ignore[arg-type]
        self.part: EventsPartition = source.build_part("events", str(HERE), resumed)

    def read(self, times: int = 6) -> list[str]:
        """What it emits in so many calls, in short: "tick 1000000 [c1 v1]", "events 0-2"."""
        return [short(item) for _ in range(times) for item in self.part.next_batch()]

    def later(self, ms: int) -> Reader:
        self.clock.now_ms += ms
        return self


def short(item: Span | Step) -> str:
    if isinstance(item, Span):
        return f"events {item.chunk.first_offset}-{item.chunk.next_offset}"
    if not item.tick:
        return "nudge"
    brought = ", ".join(f"{record.campaign_id} v{record.version}" for record in item.control)
    corrected = " ".join(each.correction_id for each in item.corrections)
    said = (f" [{brought}]" if brought else "") + (f" {{{corrected}}}" if corrected else "")
    return f"tick {item.now_ms}{said}"


def add(log: MemoryLog, *lines: bytes) -> None:
    log.append(EVENTS, HERE, lines)
