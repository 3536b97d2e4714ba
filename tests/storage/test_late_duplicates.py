"""Events that came again after the dataflow had forgotten them are taken back, each once, whatever is killed when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from schemas import topics
from schemas.corrections import Cause, Correction, Grain, decode_correction
from schemas.events import Event
from schemas.kpis import Verdicts
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, SmallFlow, events
from tests.storage.stepped_store import Store, applied, counted, windows
from tests.support.memory_log import MemoryLog

HOUR_MS = 3_600_000


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def store(log: MemoryLog, database: Database) -> Store:
    return Store(log, database)


@pytest.fixture
def flow(log: MemoryLog) -> SmallFlow:
    return SmallFlow(log)


def sent(log: MemoryLog) -> list[Correction]:
    """Every correction that was sent."""
    return [decode_correction(record) for record in log.records(topics.CORRECTIONS)]


def forgotten(flow: SmallFlow, again: Sequence[Event]) -> None:
    """The dataflow counts events again that it does not remember."""
    flow.seen -= {event.event_id for event in again}
    flow.send(again, late=True)


def test_an_event_that_came_again_after_the_memory_is_taken_back(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(400)
    flow.send(given)
    flow.report()
    store.catch_up()
    forgotten(flow, given[10:20])
    store.catch_up()
    assert sorted(each.event_id for each in sent(log)) == sorted(event.event_id for event in given[10:20])
    by_id = {event.event_id: event for event in given}
    for each in sent(log):
        event = by_id[each.event_id]
        assert (each.ts_ms, each.campaign_id, each.creative_id) == (event.ts, event.campaign_id, event.creative_id)
        assert (each.spend_micros, each.revenue_micros) == (-event.cost_micros, -event.revenue_micros)
        assert (each.cause, each.grain, each.by) == (Cause.LATE_DUPLICATE, Grain.MOMENT, "store")
        changed = {n: getattr(each, n) for n in ("impressions", "clicks", "conversions", "leads") if getattr(each, n)}
        assert changed == {f"{event.type}s": -1}


def test_fresh_events_are_not_looked_for(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(40, step_ms=100)
    flow.send(given)
    store.catch_up()
    forgotten(flow, given)
    store.catch_up()
    assert sent(log) == []


def test_another_event_of_the_same_id_and_another_time_is_no_duplicate(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    given = events(400)
    flow.send(given)
    store.catch_up()
    other = [msgspec.structs.replace(event, ts=event.ts + 1) for event in given[:5]]
    other += [msgspec.structs.replace(event, org_id="other") for event in given[:5]]
    forgotten(flow, other)
    store.catch_up()
    assert sent(log) == []


def test_a_duplicate_is_taken_back_once_for_each_time_it_came_again(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    given = events(400)
    flow.send(given)
    store.catch_up()
    for _ in range(2):
        forgotten(flow, given[:1])
        forgotten(flow, given[:1])
        store.catch_up()
    assert len({each.correction_id for each in sent(log)}) == len(sent(log)) == 4


def test_what_was_counted_first_is_taken_back_where_the_second_says_otherwise(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    given = [msgspec.structs.replace(event, cost_micros=100) for event in events(400)]
    flow.send(given)
    store.catch_up()
    forgotten(flow, [msgspec.structs.replace(given[0], cost_micros=900)])
    store.catch_up()
    assert [each.spend_micros for each in sent(log)] == [-100]
    # The dataflow has 100 + 900 - 100.
    assert store.database.rows("SELECT sum(cost_micros) FROM events_clean") == [(399 * 100 + 900,)]


@pytest.mark.parametrize("merged", [False, True])
def test_a_store_killed_before_its_commit_takes_nothing_back_twice(
    store: Store, flow: SmallFlow, log: MemoryLog, merged: bool
) -> None:
    given = events(400)
    flow.send(given)
    store.catch_up()
    kept = dict(log._committed)
    for _ in range(3):
        forgotten(flow, given[:4])
    store.catch_up()
    first = {each.correction_id for each in sent(log)}
    if merged:
        store.database.client.command("OPTIMIZE TABLE events FINAL")
    log._committed.clear()
    log._committed.update(kept)
    store.restart()
    store.catch_up()
    assert len(first) == 12
    assert {each.correction_id for each in sent(log)} == first


def test_a_store_killed_between_sending_and_inserting_sends_the_same_again(
    store: Store, flow: SmallFlow, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = events(400)
    flow.send(given)
    store.catch_up()
    forgotten(flow, given[:4])

    class KilledError(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("storage.store.event_feed.write", killed)
        with pytest.raises(KilledError):
            store.events.step(store.database.client)
    first = {each.correction_id for each in sent(log)}
    assert len(first) == 4
    store.restart()
    store.catch_up()
    assert {each.correction_id for each in sent(log)} == first
    assert store.database.rows("SELECT uniqExact(event_id), count() FROM events_clean") == [(400, 400)]


def test_an_insert_that_fails_for_hours_sends_nothing_again(
    store: Store, flow: SmallFlow, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = events(400)
    flow.send(given)
    store.catch_up()
    forgotten(flow, given[:4])

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("storage.store.event_feed.write", full)
        for _ in range(5):
            with pytest.raises(OSError, match="no space"):
                store.events.step(store.database.client)
    assert len(sent(log)) == 4


def test_rows_of_another_log_are_no_duplicates(database: Database) -> None:
    given = events(400)
    first = MemoryLog()
    SmallFlow(first).send(given)
    Store(first, database).catch_up()
    second = MemoryLog()
    flow = SmallFlow(second)
    # The clock of its events is ahead, so that all that follow are old.
    flow.send(events(50, seed=9, start_ms=START_MS + 3 * HOUR_MS))
    flow.send(given, late=True)
    store = Store(second, database)
    store.catch_up()
    assert sent(second) == []
    forgotten(flow, given[:3])
    store.catch_up()
    assert len(sent(second)) == 3


def test_a_duplicate_in_another_partition_is_found_once_the_first_is_committed(database: Database) -> None:
    log = MemoryLog(partitions=2)
    store = Store(log, database)
    given = events(400)
    flow = SmallFlow(log)
    flow.send(given)
    store.catch_up()
    flow.seen.clear()
    records = [msgspec.json.encode(given[0]), msgspec.json.encode(given[-1])]
    log.append(topics.EVENTS, 1, [records[1], records[0]])
    whole = Verdicts(partition=1, first_offset=0, next_offset=log.end(topics.EVENTS, 1))
    flow.decide(whole)
    store.catch_up()
    found = [decode_correction(r) for p in (0, 1) for r in log.records(topics.CORRECTIONS, p)]
    assert [each.event_id for each in found] == [given[0].event_id]


def test_windows_stay_right_when_a_duplicate_is_taken_back(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(400)
    flow.send(given)
    flow.report()
    store.catch_up()
    # Counted in windows as well: they were still open.
    flow.seen.clear()
    flow.send(given[:10])
    flow.report()
    store.catch_up()
    assert windows(store.database)["day"] != counted(given)
    applied(log, sent(log))
    store.catch_up()
    flow.send(events(30, seed=8, step_ms=1)[::3], late=True)
    store.catch_up()
    now = counted([*given, *events(30, seed=8, step_ms=1)[::3]])
    assert windows(store.database) == {"10s": now, "1m": now, "1h": now, "day": now}


def test_a_late_event_counts_after_a_duplicate_was_folded_in_and_taken_back(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    given = events(400)
    first = given[0]
    flow.send(given)
    flow.report()
    store.catch_up()
    forgotten(flow, [first])
    # As the dataflow has windows that were open still: the event again, and what took it back.
    folded = "SELECT * REPLACE (version + 2 AS version) FROM kpi_windows FINAL"
    store.database.client.command(f"INSERT INTO kpi_windows {folded}")
    store.catch_up()
    applied(log, sent(log), late=False)
    store.catch_up()
    late = msgspec.structs.replace(first, event_id="late", ts=first.ts + 1, cost_micros=5)
    flow.send([late], late=True)
    store.catch_up()
    now = counted([*given, late], first.campaign_id or "")
    found = windows(store.database, first.campaign_id or "")
    assert found == {"10s": now, "1m": now, "1h": now, "day": now}
