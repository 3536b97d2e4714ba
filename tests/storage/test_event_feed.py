"""Verdicts joined with events: what counts is in `events`, once, and windows add up to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.decode import encode_event
from schemas.events import Event
from schemas.kpis import Verdicts
from storage.store.feed import GROUP
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, SmallFlow, events, sums
from tests.storage.stepped_store import Store
from tests.support.memory_log import MemoryLog

STORED = "SELECT event_id FROM events_clean ORDER BY log_offset"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def store(log: MemoryLog, database: Database) -> Store:
    return Store(log, database)


@pytest.fixture
def flow(log: MemoryLog) -> SmallFlow:
    return SmallFlow(log)


def test_every_field_of_an_event_is_stored(store: Store, flow: SmallFlow) -> None:
    event = Event(
        event_id="e1", type="lead", ts=START_MS + 123, org_id="acme", campaign_id="c", keyword="shoes é", ip="1.2.3.4",
        user_agent="Mozilla", region="BE", referrer="https://x", click_id="k", cost_micros=7, revenue_micros=9,
        extra={"own": [1, 2]},
    )  # fmt: skip
    flow.send([event])
    store.catch_up()
    columns = "event_id, type, toUnixTimestamp64Milli(ts), org_id, campaign_id, keyword, ip, user_agent, region"
    assert store.database.rows(f"SELECT {columns} FROM events_clean") == [
        ("e1", "lead", START_MS + 123, "acme", "c", "shoes é", "1.2.3.4", "Mozilla", "BE")
    ]
    more = "referrer, click_id, cost_micros, revenue_micros, extra, lead, late, log_offset, user_id"
    assert store.database.rows(f"SELECT {more} FROM events_clean") == [
        ("https://x", "k", 7, 9, '{"own":[1,2]}', "", 0, 0, "")
    ]


def test_duplicates_and_dead_letters_are_not_stored(store: Store, flow: SmallFlow) -> None:
    given = events(50)
    flow.send(given)
    flow.send([given[3], *events(5, seed=2), given[4]])
    store.log.append(topics.EVENTS, 0, [b"{broken"])
    store.log.append(topics.EVENTS, 0, [encode_event(_future())])
    end = store.log.end(topics.EVENTS, 0)
    dead = [flow.end, flow.end + len(b"{broken\n")]
    flow.decide(Verdicts(partition=0, first_offset=flow.end, next_offset=end, dead=dead))
    store.catch_up()
    assert Counter(id_ for (id_,) in store.database.rows(STORED)) == Counter(
        event.event_id for event in [*given, *events(5, seed=2)]
    )


def _future() -> Event:
    return Event(event_id="future", type="click", ts=4_000_000_000_000, campaign_id="c")


def test_nothing_is_stored_before_it_is_decided(store: Store, flow: SmallFlow) -> None:
    given = events(10)
    store.log.append(topics.EVENTS, 0, [encode_event(event) for event in given])
    end = store.log.end(topics.EVENTS, 0)
    whole = Verdicts(partition=0, first_offset=0, next_offset=end)
    flow.decide(whole, parts=2, only=[0])
    store.catch_up()
    assert store.database.rows(STORED) == []
    assert store.events.lag_records() > 0
    flow.decide(whole, parts=2, only=[1])
    store.catch_up()
    assert len(store.database.rows(STORED)) == 10
    assert store.events.lag_records() == 0


def test_after_a_restart_nothing_is_stored_twice_and_nothing_is_missed(store: Store, flow: SmallFlow) -> None:
    flow.send(events(30), parts=2)
    store.catch_up()
    flow.send(events(30, seed=2), parts=3)
    store.restart()
    store.catch_up()
    assert store.database.rows("SELECT count(), uniqExact(event_id) FROM events") == [(60, 60)]


def test_a_kill_between_insert_and_commit_changes_no_total(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    flow.send(events(40))
    flow.report()
    store.catch_up()
    for key in list(log._committed):
        del log._committed[key]
    store.restart()
    store.catch_up()
    assert store.database.rows("SELECT count() FROM events") == [(80,)]
    assert store.database.rows("SELECT count(), sum(cost_micros) FROM events_clean") == [
        (40, sum(event.cost_micros for event in events(40)))
    ]
    assert store.database.rows("SELECT sum(spend_micros) FROM kpi_minutely") == [
        (sum(event.cost_micros for event in events(40)),)
    ]


def test_spans_cut_anew_after_a_crash_of_the_dataflow_are_stored_once(store: Store, flow: SmallFlow) -> None:
    given = events(20)
    store.log.append(topics.EVENTS, 0, [encode_event(event) for event in given])
    edges = [0]
    for event in given:
        edges.append(edges[-1] + len(encode_event(event)) + 1)
    # Cut off: the second span has only one of its two parts.
    flow.decide(Verdicts(partition=0, first_offset=0, next_offset=edges[5]), parts=2)
    flow.decide(Verdicts(partition=0, first_offset=edges[5], next_offset=edges[10]), parts=2, only=[1])
    store.catch_up()
    assert len(store.database.rows(STORED)) == 5
    # Resumed from a snapshot at event 3.
    flow.decide(Verdicts(partition=0, first_offset=edges[3], next_offset=edges[8]), parts=2)
    flow.decide(Verdicts(partition=0, first_offset=edges[8], next_offset=edges[20]), parts=2)
    store.restart()
    store.catch_up()
    assert store.database.rows("SELECT count(), uniqExact(event_id) FROM events") == [(20, 20)]


def test_what_retention_removed_is_skipped_and_the_rest_is_stored(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    flow.send(events(10))
    kept_from = flow.end
    flow.send(events(10, seed=2))
    log.drop_before(topics.EVENTS, 0, kept_from)
    store.catch_up()
    assert [id_ for (id_,) in store.database.rows(STORED)] == [event.event_id for event in events(10, seed=2)]


def test_events_whose_verdicts_retention_removed_do_not_hold_up_the_rest(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    flow.send(events(10))
    kept_from = log.end(topics.VERDICTS, 0)
    flow.send(events(10, seed=2))
    log.drop_before(topics.VERDICTS, 0, kept_from)
    store.catch_up()
    flow.send(events(10, seed=3))
    store.catch_up()
    kept = [*events(10, seed=2), *events(10, seed=3)]
    assert [id_ for (id_,) in store.database.rows(STORED)] == [event.event_id for event in kept]


def test_the_commit_never_runs_ahead_of_what_is_stored(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    whole = flow.send(events(10))
    log.append(topics.EVENTS, 0, [encode_event(event) for event in events(10, seed=2)])
    end = log.end(topics.EVENTS, 0)
    verdict_end = log.end(topics.VERDICTS, 0)
    flow.decide(Verdicts(partition=0, first_offset=whole.next_offset, next_offset=end), parts=2, only=[0])
    store.catch_up()
    assert log.committed(GROUP, topics.EVENTS, 0) == whole.next_offset
    assert (log.committed(GROUP, topics.VERDICTS, 0) or 0) <= verdict_end


def test_late_events_are_flagged_and_windows_add_up_to_raw_events_again(store: Store, flow: SmallFlow) -> None:
    on_time, late = events(400), _late(events(400, seed=5))
    flow.send(on_time)
    flow.report()
    flow.send(late, late=True)
    store.catch_up()
    assert store.database.rows("SELECT sum(late), count() FROM events_clean") == [(len(late), 400 + len(late))]
    assert _totals(store.database, "10s") == _expected([*on_time, *late])
    for window in ("1m", "1h", "day"):
        assert _totals(store.database, window) == _expected([*on_time, *late])
    raw = "SELECT toInt64(uniqExact(actor)) FROM events_clean WHERE campaign_id = 'c0'"
    day = "SELECT toInt64(max(reach)) FROM kpi_daily WHERE campaign_id = 'c0'"
    assert store.database.rows(raw) == store.database.rows(day)


def test_series_windows_add_up_too(store: Store, flow: SmallFlow) -> None:
    on_time, late = events(300), _late(events(300, seed=5))
    flow.send(on_time)
    flow.report()
    flow.send(late, late=True)
    store.catch_up()
    by_country = "SELECT country, sum(spend_micros), sum(clicks) FROM kpi_hourly_by_series GROUP BY country ORDER BY 1"
    raw = "SELECT country, sum(cost_micros), countIf(type = 'click') FROM events_clean GROUP BY country ORDER BY 1"
    assert store.database.rows(by_country) == store.database.rows(raw)


def test_reconciling_twice_changes_nothing(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    flow.send(events(200))
    flow.report()
    flow.send(_late(events(200, seed=5)), late=True)
    store.catch_up()
    before = store.database.rows("SELECT * EXCEPT (reach, frequency) FROM kpi_exact ORDER BY ALL")
    log._committed.clear()
    store.restart()
    store.catch_up()
    assert store.database.rows("SELECT * EXCEPT (reach, frequency) FROM kpi_exact ORDER BY ALL") == before


def test_late_events_are_not_committed_before_their_windows_are_reconciled(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    flow.send(_late(events(20)), late=True)
    while store.events.step(store.database.client):
        pass
    assert log.committed(GROUP, topics.EVENTS, 0) is None
    store.catch_up()
    assert log.committed(GROUP, topics.EVENTS, 0) == flow.end


def test_a_window_whose_raw_events_have_expired_is_not_counted_down(store: Store, flow: SmallFlow) -> None:
    on_time = events(100, campaigns=1)
    flow.send(on_time)
    flow.report()
    store.catch_up()
    before = _totals(store.database, "1h")
    store.database.client.command("TRUNCATE TABLE events")
    flow.send(_late(events(30, seed=9, campaigns=1)), late=True)
    store.catch_up()
    assert _totals(store.database, "1h") == before


def test_a_window_is_left_alone_once_its_raw_events_may_have_expired(store: Store, flow: SmallFlow) -> None:
    few = events(3, campaigns=1)
    flow.send(few)
    flow.report()
    store.catch_up()
    # Both stored 90 days ago; the raw events have expired, and more late ones come than there were events.
    store.database.client.command("TRUNCATE TABLE events")
    aged = "SELECT * REPLACE (now() - toIntervalDay(90) AS stored_at) FROM kpi_windows"
    store.database.client.command(f"CREATE TABLE aged ENGINE = Memory AS {aged}")
    store.database.client.command("TRUNCATE TABLE kpi_windows")
    store.database.client.command("INSERT INTO kpi_windows SELECT * FROM aged")
    before = _totals(store.database, "1h")
    flow.send(_late(events(30, seed=9, campaigns=1)), late=True)
    store.catch_up()
    assert _totals(store.database, "1h") == before


def test_a_late_event_of_a_day_that_has_no_window_yet_makes_one(store: Store, flow: SmallFlow) -> None:
    record: dict[str, Any] = {
        "kind": "campaign", "key": "c0", "org_id": "default", "campaign_id": "c0", "version": 1, "changed_by": "me",
        "changed_ms": 0, "campaign": {"campaign_id": "c0", "name": "C", "currency": "EUR", "time_zone": "Asia/Tokyo"},
    }  # fmt: skip
    store.log.append(topics.CONTROL, 0, [msgspec.json.encode(record)])
    flow.send([_replaced(event, campaign_id="c0") for event in events(5)], late=True)
    store.catch_up()
    found = store.database.rows("SELECT toString(day), toString(day_start), impressions + clicks FROM kpi_daily")
    assert [(day, start) for day, start, _ in found] == [("2026-03-02", "2026-03-01 15:00:00.000")]


def _replaced(event: Event, **fields: Any) -> Event:
    return msgspec.structs.replace(event, **fields)


def _late(given: list[Event]) -> list[Event]:
    """Some of them, as events that came later."""
    return given[::7]


def _totals(database: Database, window: str) -> list[tuple[Any, ...]]:
    counters = "impressions, clicks, conversions, leads, spend_micros, revenue_micros"
    sums_ = ", ".join(f"toInt64(sum({name}))" for name in counters.split(", "))
    where = "level = 'campaign' AND window = {window:String}"
    return database.rows(
        f"SELECT campaign_id, {sums_} FROM kpi_exact WHERE {where} GROUP BY campaign_id ORDER BY 1", window=window
    )


def _expected(given: list[Event]) -> list[tuple[Any, ...]]:
    campaigns = sorted({event.campaign_id or "" for event in given})
    return [(c, *sums([event for event in given if event.campaign_id == c]).values()) for c in campaigns]
