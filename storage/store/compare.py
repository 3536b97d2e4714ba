"""The log and ClickHouse compared for a time range, per campaign and day, and repaired: `penstock doctor --verify`.

It runs beside the store: it looks only at what the store has committed, and writing a row twice changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas import topics
from schemas.kpis import ALLOWED_LATENESS_MS
from schemas.live import Verification
from schemas.log import Log
from storage.client import Client
from storage.reconcile import Reconciliation
from storage.store.decided_events import DecidedEvents, Piece
from storage.store.event_rows import campaign_moments
from storage.store.feed import GROUP, Tail
from storage.store.fingerprint import CORRECTIONS, EVENTS, Shape
from storage.store.tables import correction_table
from storage.store.topic_feed import topic_rows
from storage.store.verify import Place, missing, write
from storage.store.zones import Zones

PIECE_BYTES: Final = 16 * 2**20
# A consumer of a broker has nothing at first.
WAIT_S: Final = 5.0
# Columns of money: of events, and of corrections.
_COSTS: Final = ("cost_micros", "revenue_micros")
_MONEY: Final = ("spend_micros", "revenue_micros")
# Zones differ by quarters of an hour: a day of any of them is made of these.
_QUARTER_MS: Final = 900_000
# A daily row follows its events within seconds: so often a difference is looked at again, after so long.
SETTLE_TRIES: Final = 6
SETTLE_S: Final = 2.0

_DAILY: Final = """
SELECT toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), version, spend_micros, revenue_micros
FROM kpi_windows FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND level = 'campaign' AND window = 'day'
    AND window_end > fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND window_start <= fromUnixTimestamp64Milli({high:Int64}, 'UTC')
ORDER BY window_start
"""
# As the recount has it (storage/sql/recompute.sql): the number of events and corrections is the version.
_RAW: Final = """
SELECT sum(weight), greatest(sum(cost), 0), greatest(sum(revenue), 0)
FROM
(
    SELECT org_id, campaign_id, ts, cost_micros AS cost, revenue_micros AS revenue, 1 AS weight
    FROM events FINAL
    WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
        AND ts >= fromUnixTimestamp64Milli({low:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
    UNION ALL
    SELECT org_id, campaign_id, ts, if(cause = 'late_duplicate', 0, spend_micros),
        if(cause = 'late_duplicate', 0, revenue_micros), if(cause = 'late_duplicate', 2, 1)
    FROM corrections FINAL
    WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND refused = 0
        AND ts >= fromUnixTimestamp64Milli({low:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
)
"""


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """A campaign's day."""

    org_id: str
    campaign_id: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Events (and corrections, where they count) and money."""

    events: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0

    def __add__(self, more: Sums) -> Sums:
        return Sums(
            self.events + more.events,
            self.spend_micros + more.spend_micros,
            self.revenue_micros + more.revenue_micros,
        )

    def __sub__(self, less: Sums) -> Sums:
        return self + Sums(-less.events, -less.spend_micros, -less.revenue_micros)


@dataclass(slots=True)
class Difference:
    """What of a day differed: `expected` by `source`, `found` in ClickHouse, and whether it is mended."""

    day: Day
    # "events", "corrections": the log against the table; "kpi_daily": both tables against the daily row.
    what: str
    expected: Sums
    found: Sums
    repaired: bool
    note: str = ""


@dataclass(slots=True)
class Comparison:
    """What was compared, and every difference."""

    days: int = 0
    events: int = 0
    missing: int = 0
    repaired: int = 0
    from_ms: int = 0
    to_ms: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Log and ClickHouse say the same now."""
        return all(difference.repaired for difference in self.differences)

    def verification(self, at_ms: int) -> Verification:
        """The same for dashboards."""
        return Verification(
            at_ms=at_ms, by="doctor", from_ms=self.from_ms, to_ms=self.to_ms, events=self.events, rows=0,
            missing=self.missing, repaired=self.repaired,
        )  # fmt: skip


class Comparer:
    """Compares the accepted events of [from_ms, to_ms) that the log still has."""

    def __init__(
        self,
        log: Log,
        client: Client,
        *,
        from_ms: int,
        to_ms: int,
        repairs: bool,
        raw_ttl_days: int,
        now_ms: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._log = log
        self._client = client
        self._range = from_ms, to_ms
        self._repairs = repairs
        self._now_ms = now_ms
        self._pause = pause
        self._zones = Zones(log)
        self._expected: dict[Day, Sums] = {}
        self._missing: dict[Day, Sums] = {}
        self.found = Comparison()
        bounds = self._zones.day_bounds
        self._reconciliation = Reconciliation(client, raw_ttl_days=raw_ttl_days, day_bounds=bounds)

    def run(self, told: Callable[[int], None] = lambda _: None) -> Comparison:
        """Compare, and repair if that is wanted; `told` hears how many events were compared so far. Raises what the
        client and the log raise."""
        self._zones.refresh()
        if self._repairs:
            self._reconciliation.mend_days()
        for piece in self._pieces():
            self._take(piece)
            told(self.found.events)
        self._compare_corrections()
        for day, sums in sorted(self._missing.items()):
            there = self._expected[day] - sums
            self.found.differences.append(Difference(day, "events", self._expected[day], there, self._repairs))
        self.found.days = len(self._expected)
        for campaign in sorted({(day.org_id, day.campaign_id) for day in self._expected if day.campaign_id}):
            self._compare_daily(*campaign)
        return self.found

    def _pieces(self) -> Iterator[Piece]:
        partitions = range(self._log.partitions(topics.EVENTS))
        limits = {p: self._log.committed(GROUP, topics.EVENTS, p) or 0 for p in partitions}
        events = DecidedEvents(self._log, {p: self._log.begin(topics.EVENTS, p) for p in partitions})
        while any(events.position(p) < limit for p, limit in limits.items()):
            for partition, limit in limits.items():
                piece = events.read(partition, limit, PIECE_BYTES)
                if piece is not None:
                    yield piece

    def _take(self, piece: Piece) -> None:
        moments = piece.table["ts"].cast(pa.int64())
        inside = pc.and_(pc.greater_equal(moments, self._range[0]), pc.less(moments, self._range[1]))
        table = piece.table.filter(inside)
        if table.num_rows == 0:
            return
        bounds = pc.min_max(table["ts"].cast(pa.int64())).as_py()
        self.found.from_ms = min(self.found.from_ms or bounds["min"], bounds["min"])
        self.found.to_ms = max(self.found.to_ms, bounds["max"])
        self.found.events += table.num_rows
        self._add(self._expected, table)
        gone = table.filter(pa.array(missing(self._client, EVENTS, table, piece.place)))
        self._add(self._missing, gone)
        self._repair(EVENTS, gone, piece.place)

    def _compare_corrections(self) -> None:
        tail = Tail(self._log, topics.CORRECTIONS_APPLIED, 0, again=True)
        limit, tail.position = tail.position, self._log.begin(topics.CORRECTIONS_APPLIED, 0)
        given: dict[Day, Sums] = {}
        lost: dict[Day, Sums] = {}
        while tail.position < limit and (chunk := tail.read(PIECE_BYTES, WAIT_S)) is not None:
            table, place = topic_rows(correction_table, chunk)
            tail.position = chunk.next_offset
            moments = table["ts"].cast(pa.int64())
            table = table.filter(pc.and_(pc.greater_equal(moments, self._range[0]), pc.less(moments, self._range[1])))
            self._add(given, table, _MONEY)
            gone = table.filter(pa.array(missing(self._client, CORRECTIONS, table, place)))
            self._add(lost, gone, _MONEY)
            self._repair(CORRECTIONS, gone, place)
        for day, sums in sorted(lost.items()):
            there = given[day] - sums
            self.found.differences.append(Difference(day, "corrections", given[day], there, self._repairs))
        for day in given:
            self._expected.setdefault(day, Sums())

    def _repair(self, shape: Shape, gone: pa.Table, place: Place) -> None:
        self.found.missing += gone.num_rows
        if self._repairs and gone.num_rows:
            write(self._client, shape, gone, place)
            self.found.repaired += gone.num_rows
            for campaign, moments in campaign_moments(gone).items():
                self._reconciliation.recompute(*campaign, moments)

    def _add(self, sums: dict[Day, Sums], table: pa.Table, money: tuple[str, str] = _COSTS) -> None:
        spend, revenue = money
        quarters = pc.divide(table["ts"].cast(pa.int64()), _QUARTER_MS)
        grouped = (
            table.append_column("quarter", quarters)
            .group_by(["org_id", "campaign_id", "quarter"])
            .aggregate([(spend, "sum"), (revenue, "sum"), (spend, "count")])
        )
        for row in grouped.to_pylist():
            names = row["org_id"], row["campaign_id"]
            day = Day(*names, *self._zones.day_bounds(*names, row["quarter"] * _QUARTER_MS))
            more = Sums(row[f"{spend}_count"], row[f"{spend}_sum"], row[f"{revenue}_sum"])
            sums[day] = sums.get(day, Sums()) + more

    def _compare_daily(self, org_id: str, campaign_id: str) -> None:
        named = {"org_id": org_id, "campaign_id": campaign_id}
        known = [day for day in self._expected if (day.org_id, day.campaign_id) == (org_id, campaign_id)]
        low, high = min(day.start_ms for day in known), max(day.end_ms for day in known) - 1
        rows = self._client.query(_DAILY, parameters=named | {"low": low, "high": high}).result_rows
        for start_ms, end_ms, *_ in rows:
            self._compare_day(Day(org_id, campaign_id, start_ms, end_ms))
        for day in known:
            if not any(row[0] < day.end_ms and day.start_ms < row[1] for row in rows):
                self._compare_day(day)

    def _compare_day(self, day: Day) -> None:
        """The daily row against the raw events; one that lags behind by seconds is given the time."""
        raw, daily = self._of_day(day)
        first = daily
        tries = 0
        while raw != daily and self._repairs and tries < 1:
            self._reconciliation.recompute(day.org_id, day.campaign_id, {day.start_ms, day.end_ms - 1})
            raw, daily = self._of_day(day)
            tries += 1
        while raw != daily and tries < SETTLE_TRIES and self._is_open(day):
            self._pause(SETTLE_S)
            raw, daily = self._of_day(day)
            tries += 1
        if raw == daily == first:
            return
        note = ""
        if raw != daily and self._is_open(day):
            note = "the day is still open and its row follows its events"
        elif raw.events < daily.events:
            note = "raw events have expired, or are no longer in the log"
        self.found.differences.append(
            Difference(day, "kpi_daily", raw, first, raw == daily or self._is_open(day), note)
        )

    def _is_open(self, day: Day) -> bool:
        return day.end_ms + ALLOWED_LATENESS_MS > self._now_ms

    def _of_day(self, day: Day) -> tuple[Sums, Sums]:
        """Raw events of a day, and its row."""
        named = {"org_id": day.org_id, "campaign_id": day.campaign_id, "low": day.start_ms, "high": day.end_ms}
        raw = Sums(*self._client.query(_RAW, parameters=named).result_rows[0])
        rows = self._client.query(_DAILY, parameters=named | {"high": day.end_ms - 1}).result_rows
        daily = next((Sums(*row[2:]) for row in rows if (row[0], row[1]) == (day.start_ms, day.end_ms)), Sums())
        return raw, daily
