"""What is in the log, read and counted the plain way: JSON, loops and dictionaries, nothing of the product's logic."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas import topics
from schemas.log import Log, LogUnavailableError, OffsetGoneError
from schemas.zones import zone_of

Key = tuple[str, str]
WIDTHS_MS = {"10s": 10_000, "1m": 60_000, "1h": 3_600_000}
KINDS = ("impression", "click", "conversion", "lead")


@dataclass(frozen=True)
class Event:
    """One record of topic `events`; `key` is its organisation and campaign."""

    partition: int
    offset: int
    event_id: str
    key: Key
    kind: str
    ts_ms: int
    cost_micros: int
    revenue_micros: int


@dataclass
class Judgement:
    """What verdicts say of one partition: offsets, and the complete spans they come from."""

    duplicates: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    spans: list[tuple[int, int]] = field(default_factory=list)


def records(log: Log, topic: str, partition: int = 0) -> Iterator[tuple[int, bytes]]:
    """Every record of a partition with its offset."""
    offset, end = log.begin(topic, partition), log.end(topic, partition)
    nothing = 0
    while offset < end and nothing < 50:
        chunk = log.read(topic, partition, offset, 2**20, 1.0)
        if chunk is None:
            nothing += 1
            continue
        place = chunk.first_offset
        for number, record in enumerate(chunk.records()):
            yield (place if chunk.offsets is None else int(chunk.offsets[number])), record
            place += len(record) + 1
        offset = chunk.next_offset


def readable(log: Log, topic: str, partition: int) -> dict[int, bytes]:
    """The records of a damaged partition that can be read: what is damaged is passed by, or ends it."""
    found: dict[int, bytes] = {}
    offset = log.begin(topic, partition)
    while True:
        try:
            chunk = log.read(topic, partition, offset, 2**20)
        except OffsetGoneError as gone:
            if gone.begin <= offset:
                return found
            offset = gone.begin
            continue
        except LogUnavailableError:
            return found
        if chunk is None:
            return found
        place = chunk.first_offset
        for record in chunk.records():
            found[place] = record
            place += len(record) + 1
        offset = chunk.next_offset


def events(log: Log) -> tuple[list[Event], list[tuple[int, int]]]:
    """All events in the log, in the order of each partition; and where records stand that are none, torn ones."""
    found, torn = [], []
    for partition in range(log.partitions(topics.EVENTS)):
        for offset, record in records(log, topics.EVENTS, partition):
            try:
                given = json.loads(record.decode())
            except ValueError:
                torn.append((partition, offset))
                continue
            found.append(
                Event(
                    partition, offset, given["event_id"], (given.get("org_id", "default"), given["campaign_id"]),
                    given["type"], given["ts"], given["cost_micros"], given["revenue_micros"],
                )
            )  # fmt: skip
    return found, torn


def judgements(log: Log) -> dict[int, Judgement]:
    """Verdicts by partition. Two verdicts on one event must be the same."""
    parts: dict[tuple[int, int, int, int], list[dict[str, Any]]] = defaultdict(list)
    for _, record in records(log, topics.VERDICTS):
        one = json.loads(record)
        parts[one["partition"], one["first_offset"], one["next_offset"], one.get("parts", 1)].append(one)
    found: dict[int, Judgement] = defaultdict(Judgement)
    for (partition, first, end, count), given in parts.items():
        if {one.get("part", 0) for one in given} != set(range(count)):
            continue
        there = found[partition]
        for name in ("duplicates", "dead", "late"):
            said = {offset for one in given for offset in one.get(name, [])}
            before = {o for o in getattr(there, name) if any(f <= o < e for f, e in there.spans)}
            for span in there.spans:
                low, high = max(first, span[0]), min(end, span[1])
                agree = {o for o in said if low <= o < high} == {o for o in before if low <= o < high}
                assert agree, f"events/{partition} {low} to {high} have two verdicts on {name}"
        for name in ("duplicates", "dead", "late"):
            getattr(there, name).update(offset for one in given for offset in one.get(name, []))
        there.spans.append((first, end))
    return found


@dataclass(frozen=True)
class Correction:
    """A correction as it came into force: before event `offset` of its partition; `how` says what became of it.

    `met`: the campaign was known there, by an event or a definition; else only the store counts it.
    """

    partition: int
    offset: int
    correction_id: str
    key: Key
    ts_ms: int
    grain: str
    again: bool
    counts: tuple[int, ...]
    spend_micros: int
    revenue_micros: int
    how: str
    met: bool

    @property
    def row(self) -> tuple[int, ...]:
        """What it adds to a row: of its event, when that came again, only the version."""
        return (1, *self.counts, self.spend_micros, self.revenue_micros)


def outcomes(log: Log) -> dict[str, str]:
    """By organisation and id: "applied", "late" or "refused"."""
    return outcomes_in(record for _, record in records(log, topics.CORRECTIONS_APPLIED))


def outcomes_in(applied: Iterable[bytes]) -> dict[str, str]:
    """The same of records of `corrections.applied`. What is written twice must say the same."""
    found: dict[str, str] = {}
    for record in applied:
        one = json.loads(record)
        for place, given in enumerate(one["corrections"]):
            how = next((how for how in ("refused", "late") if place in one.get(how, [])), "applied")
            key = given["org_id"] + "/" + given["correction_id"]
            assert found.setdefault(key, how) == how, f"correction {key} is {found[key]} and {how}"
    return found


def corrections(log: Log, counted: list[Event]) -> list[Correction]:
    """Every correction that came into force, once, in the order of each partition."""
    said, found, seen = outcomes(log), [], set()
    for partition in range(log.partitions(topics.ORDER)):
        defined: set[Key] = set()
        for _, record in records(log, topics.ORDER, partition):
            entry = json.loads(record)
            defined.update((one["org_id"], one["campaign_id"]) for one in entry.get("control", []))
            for given in entry.get("corrections", []):
                identity = given["org_id"] + "/" + given["correction_id"]
                if identity in seen:
                    continue
                seen.add(identity)
                key, offset = (given["org_id"], given["campaign_id"]), entry["offset"]
                met = key in defined or any(
                    e.key == key and e.partition == partition and e.offset < offset for e in counted
                )
                assert identity in said, f"correction {identity} came into force and nobody said so"
                found.append(
                    Correction(
                        partition, offset, identity, key, given["ts_ms"], given.get("grain", "moment"),
                        given["cause"] == "late_duplicate",
                        tuple(given.get(kind + "s", 0) for kind in KINDS),
                        given.get("spend_micros", 0), given.get("revenue_micros", 0), said[identity], met,
                    )
                )  # fmt: skip
    assert seen == set(said), f"said to be in force, and in no entry: {sorted(set(said) - seen)}"
    return found


def may_be(row: tuple[int, ...], events: list[Event], corrected: list[Correction]) -> bool:
    """Whether a row is what these events and corrections come to.

    Corrections of events that came again (see `counts`) take back what the flow counted twice, and tables have once.
    """
    once: dict[str, Event] = {}
    for event in events:
        once.setdefault(event.event_id, event)
    plain_ones = [one.row for one in corrected if not one.again]
    again = [one.row for one in corrected if one.again]
    least = [sum(column) for column in zip(row_of(once.values()), *plain_ones, strict=True)]
    most = [sum(column) for column in zip(row_of(events), *plain_ones, strict=True)]
    most[0] += len(again)
    if len(once) == len(events):
        least = most
    bounds = zip(row[1:], least[1:], most[1:], strict=True)
    return least[0] <= row[0] <= most[0] and all(max(low, 0) <= has <= max(high, 0) for has, low, high in bounds)


def local_midnight_ms(zone: str, day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone_of(zone)).timestamp() * 1_000)


def day_of(zone: str, ts_ms: int) -> tuple[int, int]:
    """Start and end of the local day of an instant."""
    day = datetime.fromtimestamp(ts_ms / 1_000, UTC).astimezone(zone_of(zone)).date()
    return local_midnight_ms(zone, day), local_midnight_ms(zone, day + timedelta(days=1))


def may_be_day(zone: str, start_ms: int, end_ms: int) -> bool:
    """Whether a campaign that had events before its definition may have such a day: its first days are those of UTC,
    and between them and the zone's lie longer or shorter ones."""
    return all(ms in (day_of("UTC", ms)[0], day_of(zone, ms)[0]) for ms in (start_ms, end_ms))


@dataclass
class Count:
    """Counters of a window."""

    events: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    spend_micros: int = 0
    revenue_micros: int = 0

    def add(self, event: Event) -> None:
        self.events += 1
        self.kinds[event.kind] += 1
        self.spend_micros += event.cost_micros
        self.revenue_micros += event.revenue_micros

    def row(self) -> tuple[int, ...]:
        return (self.events, *self.kinds.values(), self.spend_micros, self.revenue_micros)


def windows(counted: list[Event]) -> dict[tuple[Key, str, int], list[Event]]:
    """The events of each window of campaigns: by campaign, window and start."""
    found: dict[tuple[Key, str, int], list[Event]] = defaultdict(list)
    for event in counted:
        for name, width in WIDTHS_MS.items():
            found[event.key, name, event.ts_ms - event.ts_ms % width].append(event)
    return found


def row_of(events: Iterable[Event]) -> tuple[int, ...]:
    """The row that counts these events."""
    count = Count()
    for event in events:
        count.add(event)
    return count.row()


def counts(row: tuple[int, ...], events: list[Event]) -> bool:
    """Whether a stored row counts these events, each once.

    An event that came again after dedupe had forgotten its id is here twice: the ledger and open windows count it
    twice, table `events` has it once, and so have closed windows, which are counted from that table.
    """
    wanted = row_of(events)
    unique = len({event.event_id for event in events})
    if row == wanted or not row or unique == len(events):
        return row == wanted
    return unique <= row[0] <= wanted[0] and all(has <= most for has, most in zip(row, wanted, strict=True))
