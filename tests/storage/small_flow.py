"""What the dataflow would write for some events, by the slowest and plainest code: a reference to hold the store to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from schemas import topics
from schemas.decode import encode_event
from schemas.events import Event
from schemas.kpis import WIDTH_MS, KpiBatch, KpiColumns, Level, Verdicts, Window
from schemas.log import Log

DAY_MS = 86_400_000
# 2026-03-02 00:00 UTC
START_MS = 1_772_409_600_000
TYPES = ("impression", "impression", "impression", "click", "conversion", "lead")


def events(
    count: int, *, seed: int = 1, campaigns: int = 3, start_ms: int = START_MS, step_ms: int = 700
) -> list[Event]:
    """Seeded events of several campaigns, one after another in time."""
    rng = random.Random(seed)
    return [
        Event(
            event_id=f"e{seed}-{n}",
            type=(kind := rng.choice(TYPES)),
            ts=start_ms + n * step_ms,
            campaign_id=f"c{rng.randrange(campaigns)}",
            creative_id=f"cr{rng.randrange(2)}",
            channel=rng.choice(("search", "social")),
            country=rng.choice(("DE", "FR")),
            device=rng.choice(("mobile", "desktop")),
            user_id=f"u{rng.randrange(40)}",
            cost_micros=rng.randrange(5_000_000) if kind in ("impression", "click") else 0,
            revenue_micros=rng.randrange(90_000_000) if kind == "conversion" else 0,
        )
        for n in range(count)
    ]


@dataclass
class SmallFlow:
    """Appends events to a log's one partition and decides about them: an id seen before is a duplicate, `late` ones
    are late and in no window."""

    log: Log
    seen: set[str] = field(default_factory=set)
    counted: dict[tuple[str, ...], list[Event]] = field(default_factory=dict)
    end: int = 0

    def send(self, given: Sequence[Event], *, late: bool = False, parts: int = 1) -> Verdicts:
        """Append the events and one span's verdicts, cut into parts; returns the whole span's."""
        first = self.end
        duplicates: list[int] = []
        lates: list[int] = []
        position = first
        for event in given:
            if event.event_id in self.seen:
                duplicates.append(position)
            elif late:
                lates.append(position)
            else:
                self._count(event)
            self.seen.add(event.event_id)
            position += len(encode_event(event)) + 1
        self.end = self.log.append(topics.EVENTS, 0, [encode_event(event) for event in given])
        whole = Verdicts(partition=0, first_offset=first, next_offset=self.end, duplicates=duplicates, late=lates)
        self.decide(whole, parts)
        return whole

    def decide(self, whole: Verdicts, parts: int = 1, *, only: Sequence[int] | None = None) -> None:
        """Append the verdicts of a span in so many parts, or only some of them."""
        records = [
            msgspec.json.encode(
                msgspec.structs.replace(
                    whole,
                    part=part,
                    parts=parts,
                    duplicates=whole.duplicates[part::parts],
                    late=whole.late[part::parts],
                )
            )
            for part in range(parts)
            if only is None or part in only
        ]
        self.log.append(topics.VERDICTS, 0, records)

    def _count(self, event: Event) -> None:
        dimensions = (event.creative_id or "", event.channel or "", event.country or "", event.device or "")
        for window in Window:
            width = WIDTH_MS.get(window, DAY_MS)
            start = str(event.ts - event.ts % width)
            for level, named in ((Level.CAMPAIGN, ("", "", "", "")), (Level.SERIES, dimensions)):
                key = (event.campaign_id or "", level.value, *named, window.value, start)
                self.counted.setdefault(key, []).append(event)

    def report(self) -> None:
        """Append every window as it is now."""
        self.log.append(topics.KPIS, 0, [msgspec.json.encode(self.batch())])

    def batch(self) -> KpiBatch:
        """Every window."""
        columns: dict[str, list[object]] = {name: [] for name in KpiColumns.__struct_fields__}
        for key, members in self.counted.items():
            campaign, level, creative, channel, country, device, window, start = key
            row = {
                "org_id": "default", "campaign_id": campaign, "level": level, "creative_id": creative,
                "channel": channel, "country": country, "device": device, "window": window,
                "window_start_ms": int(start),
                "window_end_ms": int(start) + WIDTH_MS.get(Window(window), DAY_MS),
                "reach": len({event.user_id for event in members}), "version": len(members),
                **sums(members),
            }  # fmt: skip
            for name, value in row.items():
                columns[name].append(value)
        return KpiColumns(**columns).packed()  # type: ignore[arg-type]


def sums(members: Sequence[Event]) -> dict[str, int]:
    """The counters of some events."""
    names = {"impressions": "impression", "clicks": "click", "conversions": "conversion", "leads": "lead"}
    counts = {name: sum(event.type == kind for event in members) for name, kind in names.items()}
    micros = ("spend_micros", "cost_micros"), ("revenue_micros", "revenue_micros")
    return counts | {name: sum(getattr(event, source) for event in members) for name, source in micros}
