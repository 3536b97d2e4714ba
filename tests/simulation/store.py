"""`penstock store`: the real feeds over the warehouse in memory, and the serving state over a Redis in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import TypeVar

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError
from numpy.typing import NDArray

from schemas.corrections import COUNTERS
from schemas.kpis import Level, Window
from schemas.log import Log, LogUnavailableError
from schemas.serving import Serving as State
from storage.reconcile import Day, Reconciliation
from storage.serving import MemoryServing
from storage.store.event_feed import EventFeed
from storage.store.feed import Feed
from storage.store.feeds import topic_feeds
from storage.store.fingerprint import Shape
from storage.store.late_duplicates import LateDuplicates
from storage.store.serving_feed import ServingFeed
from storage.store.verify import Place, UnwrittenError
from tests.simulation.clock import SimClock
from tests.simulation.network import Link, UnreachableError
from tests.simulation.process import Process
from tests.simulation.warehouse import Row, SimClient, Warehouse, rows_of

Answer = TypeVar("Answer")

RETRY_S = 0.5
_KINDS = {1: "impressions", 2: "clicks", 3: "conversions", 4: "leads"}
_DIMENSIONS = ("creative_id", "channel", "country", "device")


class SimReconciliation(Reconciliation):
    """The one statement of SQL in plain Python; which windows it is asked for is the real logic."""

    def _insert(self, org_id: str, campaign_id: str, bounds: Mapping[Window, Sequence[Day]]) -> None:
        client: SimClient = self._client
        events, corrections = (
            [
                row
                for row in client.warehouse.rows(table)
                if (row["org_id"], row["campaign_id"]) == (org_id, campaign_id)
            ]
            for table in ("events", "corrections")
        )
        rows = [
            row for window, some in bounds.items() for bound in some for level in Level
            for row in _counted(events, corrections, level, window, bound)
        ]  # fmt: skip
        client.recompute(rows)


def _counted(
    events: list[Row], corrections: list[Row], level: Level, window: Window, bound: tuple[int, int]
) -> list[Row]:
    groups: dict[tuple[str, ...], Row] = {}

    def group(row: Row) -> Row | None:
        if not bound[0] <= row["ts"] < bound[1]:
            return None
        dimensions = tuple("" if level is Level.CAMPAIGN else row[name] for name in _DIMENSIONS)
        return groups.setdefault(dimensions, _empty(row, level, window, bound, dimensions))

    for event in events:
        if (row := group(event)) is not None:
            row[_KINDS[event["type"]]] += 1
            row["spend_micros"] += event["cost_micros"]
            row["revenue_micros"] += event["revenue_micros"]
            row["version"] += 1
    of_days = (level, window) == (Level.CAMPAIGN, Window.DAY)
    for correction in corrections:
        if correction["refused"] or (correction["grain"] == "day" and not of_days):
            continue
        if (row := group(correction)) is not None:
            again = correction["cause"] == "late_duplicate"
            row["version"] += 2 if again else 1
            for name in () if again else COUNTERS:
                row[name] += correction[name]
    for row in groups.values():
        row.update({name: max(row[name], 0) for name in COUNTERS})
    return list(groups.values())


def _empty(event: Row, level: Level, window: Window, bound: tuple[int, int], dimensions: tuple[str, ...]) -> Row:
    key = {"org_id": event["org_id"], "campaign_id": event["campaign_id"], "level": level.value, "window": window.value}
    numbers = dict.fromkeys([*_KINDS.values(), "spend_micros", "revenue_micros", "version", "reach"], 0)
    return (
        key
        | numbers
        | dict(zip(_DIMENSIONS, dimensions, strict=True))
        | {
            "window_start": bound[0],
            "window_end": bound[1],
        }
    )


def missing(client: SimClient, shape: Shape, table: pa.Table, place: Place) -> NDArray[np.bool_]:
    """Stands in for `storage.store.verify.missing`, whose hashes ClickHouse sums."""
    return ~np.array(client.holds(shape.table, rows_of(table)), np.bool_)


class Store(Process):
    """Feeds stepped in turn; each waits after a failure, as its thread does."""

    name = "store"

    def __init__(self, clock: SimClock, rng: Random, open_log: Callable[[], Log], client: SimClient) -> None:
        super().__init__(clock, rng)
        self._open = open_log
        self._client = client
        self._feeds: list[Feed] = []

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        made = {"raw_ttl_days": 90, "clock": self.clock.mono_s}
        events = EventFeed(self.log, **made)  # type: ignore[arg-type]
        events._again = LateDuplicates(self.log, now_ms=self.clock.wall_ms)
        self._feeds = [events, *topic_feeds(self.log, **made)]  # type: ignore[arg-type]
        self._turns = self.rng.randrange(len(self._feeds))
        self._due_s = [0.0] * len(self._feeds)

    def step(self) -> bool:
        number = self._turns = (self._turns + 1) % len(self._feeds)
        if self.clock.mono_s() < self._due_s[number]:
            return False
        try:
            return self._feeds[number].step(self._client)
        except (ClickHouseError, UnwrittenError, LogUnavailableError, OSError):
            self._due_s[number] = self.clock.mono_s() + RETRY_S
            return False

    def lag_records(self) -> int:
        """What is not stored yet."""
        return sum(feed.lag_records() for feed in self._feeds)


class RemoteServing(MemoryServing):
    """Redis: outlives the process that writes to it, and may not answer."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def begin(self, identity: str, end: int) -> None:
        self._call(partial(super().begin, identity, end))

    def put(self, states: Iterable[State]) -> int:
        return self._call(partial(super().put, list(states)))

    def reached(self, position: int) -> None:
        self._call(partial(super().reached, position))

    def _call(self, work: Callable[[], Answer]) -> Answer:
        try:
            return self._link.call(work)
        except UnreachableError as error:
            raise OSError(str(error)) from error


class Serving(Process):
    """The thread of the store that keeps the serving state; a process of its own here, so that it can die alone."""

    name = "serving"

    def __init__(self, clock: SimClock, rng: Random, open_log: Callable[[], Log], remote: RemoteServing) -> None:
        super().__init__(clock, rng)
        self._open = open_log
        self._remote = remote

    def open_log(self) -> Log:
        return self._open()

    def start(self) -> None:
        self._feed = ServingFeed(self.log, self._remote, self.clock.wall_ms)

    def step(self) -> bool:
        try:
            self._feed.step()
        except (LogUnavailableError, OSError):
            self.start()
        return False


def warehouse_and_client(link: Link) -> tuple[Warehouse, SimClient]:
    """The tables, and a client of them."""
    warehouse = Warehouse()
    return warehouse, SimClient(warehouse, link)
