"""Days follow the campaign's time zone: known before the first late event is put in a day, and after a change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.logic.budgets.periods import day_bounds, day_from
from ingest.kafka_log import KafkaLog
from ingest.kafka_topics import ensure_topics
from schemas import topics
from schemas.control import CampaignRecord, encode_control
from schemas.events import Event
from schemas.log import Chunk, Log, LogUnavailableError
from storage.reconcile import Reconciliation
from storage.store.event_feed import RECONCILE_S, EventFeed
from storage.store.feed import GROUP
from storage.store.kpi_feed import KpiFeed
from storage.store.zones import Zones, day_of
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, SmallFlow, events
from tests.support.memory_log import MemoryLog

HOUR_MS = 3_600_000


def definition(zone: str, *, version: int = 1, changed_ms: int = 0, campaign_id: str = "c0") -> bytes:
    campaign = {"campaign_id": campaign_id, "name": "C", "currency": "EUR", "time_zone": zone}
    return encode_control(
        CampaignRecord(
            key=f"campaign/default/{campaign_id}", org_id="default", campaign_id=campaign_id, version=version,
            changed_by="me", changed_ms=changed_ms, campaign=campaign,
        )
    )  # fmt: skip


class SlowToBegin(MemoryLog):
    """As a consumer of a broker that has fetched nothing yet: the first reads without a wait find nothing."""

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        if topic == topics.CONTROL and timeout_s == 0.0:
            return None
        return super().read(topic, partition, offset, max_bytes, timeout_s)


def days(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("SELECT toString(day_start), toInt64(impressions + clicks) FROM kpi_daily ORDER BY 1")


def store_all(log: Log, database: Database) -> None:
    now = iter(float(n) * RECONCILE_S for n in range(1_000_000))
    feed = EventFeed(log, raw_ttl_days=90, clock=lambda: next(now))
    deadline = time.monotonic() + 60
    stored = False
    while not stored:
        assert time.monotonic() < deadline, "not everything was stored in time"
        # As the thread of a feed does: a broker that just began may not answer yet.
        with suppress(LogUnavailableError):
            feed.step(database.client)
            stored = log.committed(GROUP, topics.EVENTS, 0) == log.end(topics.EVENTS, 0)


LATE = [msgspec.structs.replace(event, campaign_id="c0", type="impression") for event in events(5)]


def test_the_first_late_event_finds_the_time_zones_known(database: Database) -> None:
    log = SlowToBegin()
    log.append(topics.CONTROL, 0, [definition("Asia/Tokyo")])
    SmallFlow(log).send(LATE, late=True)
    store_all(log, database)
    assert days(database) == [("2026-03-01 15:00:00.000", 5)]


@pytest.fixture
def kafka(kafka_bootstrap: str, kafka_prefix: str) -> Iterator[KafkaLog]:
    ensure_topics(kafka_bootstrap, 1, prefix=kafka_prefix)
    log = KafkaLog(kafka_bootstrap, prefix=kafka_prefix)
    yield log
    log.close()


def test_late_events_from_kafka_land_in_the_campaigns_own_day(kafka: KafkaLog, database: Database) -> None:
    kafka.append(topics.CONTROL, 0, [definition("Asia/Tokyo")], keys=["campaign/default/c0"])
    SmallFlow(kafka).send(LATE, late=True)
    store_all(kafka, database)
    assert days(database) == [("2026-03-01 15:00:00.000", 5)]


def test_a_day_cut_by_a_zone_that_was_wrong_is_counted_again(database: Database) -> None:
    log = MemoryLog()
    flow = SmallFlow(log)
    early = [
        msgspec.structs.replace(event, event_id=f"x{event.event_id}", ts=event.ts + 16 * HOUR_MS) for event in LATE
    ]
    flow.send([*LATE, *early], late=True)
    store_all(log, database)
    assert days(database) == [("2026-03-02 00:00:00.000", 10)]
    # The definition was there all the time: what the dataflow cut is in Tokyo's days.
    log.append(topics.CONTROL, 0, [definition("Asia/Tokyo")])
    database.client.command(
        "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, version)"
        " VALUES ('default', 'c0', 'campaign', 'day', '2026-03-01 15:00:00', '2026-03-02 15:00:00', 1)"
    )
    flow.send([msgspec.structs.replace(LATE[0], event_id="another")], late=True)
    store_all(log, database)
    assert days(database) == [("2026-03-01 15:00:00.000", 6), ("2026-03-02 15:00:00.000", 5)]
    by_series = "SELECT toInt64(sum(impressions)) FROM kpi_daily_by_series"
    assert database.rows(by_series) == [(11,)]


def test_no_day_lies_over_one_that_the_dataflow_has_cut(database: Database) -> None:
    log = MemoryLog()
    log.append(topics.CONTROL, 0, [definition("Asia/Tokyo")])
    # Before it was defined the campaign's days were those of UTC.
    database.client.command(
        "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, version)"
        " VALUES ('default', 'c0', 'campaign', 'day', '2026-03-01 00:00:00', '2026-03-02 00:00:00', 1)"
    )
    SmallFlow(log).send(LATE, late=True)
    store_all(log, database)
    assert days(database) == [("2026-03-01 00:00:00.000", 0), ("2026-03-02 00:00:00.000", 5)]


# One in time, before the campaign was defined: so the dataflow's first day is one of UTC. The others late.
IN_TIME = msgspec.structs.replace(LATE[0], event_id="in-time", ts=LATE[0].ts + HOUR_MS)
IN_UTC = [("2026-03-02 00:00:00.000", 6)]


@pytest.fixture
def began_in_utc() -> SmallFlow:
    """A campaign of Tokyo that had events before it was defined; no window of it is stored yet."""
    flow = SmallFlow(MemoryLog())
    flow.send([IN_TIME])
    flow.log.append(topics.CONTROL, 0, [definition("Asia/Tokyo")])
    flow.send(LATE, late=True)
    return flow


def store_windows(flow: SmallFlow, database: Database) -> None:
    flow.report()
    KpiFeed(flow.log, raw_ttl_days=90).step(database.client)


def test_a_day_of_the_dataflow_displaces_what_was_cut_before_it_was_stored(
    database: Database, began_in_utc: SmallFlow
) -> None:
    store_all(began_in_utc.log, database)
    assert days(database) == [("2026-03-01 15:00:00.000", 6)]
    store_windows(began_in_utc, database)
    assert days(database) == IN_UTC


def test_a_day_that_the_dataflow_writes_while_another_is_counted_displaces_it(
    database: Database, began_in_utc: SmallFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, flow = Reconciliation._insert, began_in_utc

    def meanwhile(self: Reconciliation, *given: Any) -> None:
        if not flow.log.committed(GROUP, topics.KPIS, 0):
            store_windows(flow, database)
        insert(self, *given)

    monkeypatch.setattr(Reconciliation, "_insert", meanwhile)
    store_all(flow.log, database)
    assert days(database) == IN_UTC


def test_a_kill_before_the_second_look_leaves_no_day_over_another(
    database: Database, began_in_utc: SmallFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, flow = Reconciliation._insert, began_in_utc

    def killed(self: Reconciliation, *given: Any) -> None:
        store_windows(flow, database)
        insert(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(Reconciliation, "_insert", killed)
    with pytest.raises(KeyboardInterrupt):
        store_all(flow.log, database)
    monkeypatch.undo()
    assert len(days(database)) == 2
    store_all(flow.log, database)
    assert days(database) == IN_UTC


def test_a_day_of_the_dataflow_that_was_counted_again_is_still_known_as_such(
    database: Database, began_in_utc: SmallFlow
) -> None:
    store_windows(began_in_utc, database)
    store_all(began_in_utc.log, database)
    database.client.command("OPTIMIZE TABLE kpi_windows FINAL")
    marked = (
        "SELECT log_offset >= 0, toInt64(version) FROM kpi_windows FINAL WHERE window = 'day' AND level = 'campaign'"
    )
    assert database.rows(marked) == [(1, 6)]


def test_a_definition_that_comes_again_does_not_bring_an_older_zone_back() -> None:
    log = MemoryLog()
    first, second = definition("UTC"), definition("Asia/Tokyo", version=2, changed_ms=1)
    log.append(topics.CONTROL, 0, [first, second])
    zones = Zones(log)
    assert zones.refresh() == {("default", "c0")}
    after = zones.day_bounds("default", "c0", START_MS)
    log.append(topics.CONTROL, 0, [first])
    assert zones.refresh() == set()
    assert zones.day_bounds("default", "c0", START_MS) == after


ZONES = st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles", "Europe/Berlin", "Pacific/Kiritimati"])


@given(
    zones=st.lists(st.tuples(st.integers(0, 20 * 24), ZONES), min_size=1, max_size=4),
    hour=st.integers(0, 30 * 24),
)
def test_days_are_cut_as_the_dataflow_cuts_them(zones: list[tuple[int, str]], hour: int) -> None:
    history = [(START_MS + at * HOUR_MS, zone) for at, zone in sorted(zones)]
    ts_ms = START_MS + hour * HOUR_MS
    # What the ledger does, hour by hour: a change sets the end of the day after the present one.
    zone = history[0][1]
    start, end = day_bounds(zone, START_MS)
    after = day_from(zone, end)
    changes = history[1:]
    for now_ms in range(START_MS, ts_ms + 1, HOUR_MS // 2):
        while now_ms >= end:
            start, end = end, after
            after = day_from(zone, end)
        while changes and changes[0][0] <= now_ms:
            zone = changes.pop(0)[1]
            after = day_from(zone, end)
    assert day_of(history, ts_ms) == (start, end)


def test_reach_of_a_window_counted_again_is_not_above_its_impressions(database: Database) -> None:
    log = MemoryLog()
    given_ = [
        Event(event_id=f"e{n}", type="impression" if n == 0 else "conversion", ts=START_MS, campaign_id="c0",
              user_id=f"u{n}")
        for n in range(9)
    ]  # fmt: skip
    SmallFlow(log).send(given_, late=True)
    store_all(log, database)
    assert database.rows("SELECT toInt64(impressions), toInt64(reach) FROM kpi_daily") == [(1, 1)]
