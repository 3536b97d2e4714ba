"""Corrections in ClickHouse: rows once, and windows that are events and corrections, to the micro."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.corrections import Cause, Correction, Grain
from schemas.events import TS_MS_MAX
from storage.correction_queries import CorrectionReader
from storage.store.feed import GROUP
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, SmallFlow, events
from tests.storage.stepped_store import Store, applied, counted, windows
from tests.support.memory_log import MemoryLog

HOUR_MS = 3_600_000
MOMENT_MS = START_MS + 12_345


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def store(log: MemoryLog, database: Database) -> Store:
    return Store(log, database)


@pytest.fixture
def flow(log: MemoryLog) -> SmallFlow:
    return SmallFlow(log)


def correction(number: int = 1, **fields: Any) -> Correction:
    given: dict[str, Any] = {"org_id": "default", "campaign_id": "c0", "ts_ms": MOMENT_MS, "cause": Cause.NOTE}
    return Correction(correction_id=f"id{number}", **given | fields)


def test_a_correction_is_a_row_whatever_how_often_it_is_applied(store: Store, log: MemoryLog) -> None:
    one = correction(spend_micros=-7, clicks=-1, note="why", by="ann", noted_ms=START_MS, event_id="e1")
    applied(log, [one], late=False)
    store.catch_up()
    applied(log, [one], late=False)
    store.restart()
    store.catch_up()
    found = "correction_id, cause, grain, spend_micros, clicks, noted_by, note, late, refused, event_id"
    assert store.database.rows(f"SELECT {found} FROM corrections_clean") == [
        ("id1", "note", "moment", -7, -1, "ann", "why", 0, 0, "e1")
    ]
    assert log.committed(GROUP, topics.CORRECTIONS_APPLIED, 0) == log.end(topics.CORRECTIONS_APPLIED, 0)


def test_closed_windows_are_events_and_corrections(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(300)
    flow.send(given)
    flow.report()
    store.catch_up()
    applied(log, [correction(impressions=3, clicks=-1, spend_micros=-500_001, revenue_micros=4, creative_id="cr0")])
    store.catch_up()
    shown, clicked, spent, earned = counted(given)
    now = shown + 3, clicked - 1, spent - 500_001, earned + 4
    assert windows(store.database) == {"10s": now, "1m": now, "1h": now, "day": now}


def test_a_correction_of_a_day_changes_the_day_alone(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(300)
    flow.send(given)
    flow.report()
    store.catch_up()
    applied(log, [correction(grain=Grain.DAY, cause=Cause.PLATFORM_INVOICE, spend_micros=123_456)])
    store.catch_up()
    as_it_was = counted(given)
    shown, clicked, spent, earned = as_it_was
    days = (shown, clicked, spent + 123_456, earned)
    assert windows(store.database) == {"10s": as_it_was, "1m": as_it_was, "1h": as_it_was, "day": days}
    assert windows(store.database, level="series")["day"] == as_it_was


def test_a_day_without_events_has_a_row_by_its_invoice(store: Store, log: MemoryLog) -> None:
    applied(log, [correction(grain=Grain.DAY, spend_micros=9_000_000)])
    store.catch_up()
    assert windows(store.database) == {"day": (0, 0, 9_000_000, 0)}


def test_refused_corrections_are_told_and_change_nothing(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(50)
    flow.send(given)
    flow.report()
    applied(log, [correction(1, spend_micros=-(10**12)), correction(2, spend_micros=5)], refused=[0])
    store.catch_up()
    assert store.database.rows("SELECT correction_id, refused FROM corrections_clean ORDER BY 1") == [
        ("id1", 1), ("id2", 0)
    ]  # fmt: skip
    assert windows(store.database)["day"][2] == counted(given)[2] + 5


def test_no_counter_of_a_window_is_below_zero(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    flow.send(events(50))
    flow.report()
    applied(log, [correction(clicks=-1_000, spend_micros=-(10**12), leads=-9)])
    store.catch_up()
    assert windows(store.database)["day"][1:3] == (0, 0)


def test_corrections_applied_again_after_a_kill_count_once(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(100)
    flow.send(given)
    flow.report()
    both = [correction(1, spend_micros=-11), correction(2, spend_micros=-13)]
    applied(log, both)
    store.catch_up()
    before = store.database.rows("SELECT * FROM kpi_exact ORDER BY ALL")
    applied(log, both)
    log._committed.clear()
    store.restart()
    store.catch_up()
    assert store.database.rows("SELECT * FROM kpi_exact ORDER BY ALL") == before
    assert windows(store.database)["day"][2] == counted(given)[2] - 24


def test_a_correction_waits_for_the_rows_of_the_dataflow_that_came_before(
    store: Store, flow: SmallFlow, log: MemoryLog
) -> None:
    given = events(100)
    flow.send(given[:50])
    flow.report()
    store.catch_up()
    flow.send(given[50:])
    flow.report()
    applied(log, [correction(spend_micros=-77)])
    corrections = store.topics[-1]
    for _ in range(3):
        corrections.step(store.database.client)
        store.now_s += 10
    assert log.committed(GROUP, topics.CORRECTIONS_APPLIED, 0) is None
    store.catch_up()
    store.catch_up()
    assert windows(store.database)["day"][2] == counted(given)[2] - 77
    assert log.committed(GROUP, topics.CORRECTIONS_APPLIED, 0) == log.end(topics.CORRECTIONS_APPLIED, 0)


def test_late_events_after_a_correction_keep_it(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given, late = events(100), events(100, seed=5)[::7]
    flow.send(given)
    flow.report()
    applied(log, [correction(spend_micros=1_000)])
    store.catch_up()
    flow.send(late, late=True)
    store.catch_up()
    shown, clicked, spent, earned = counted([*given, *late])
    assert windows(store.database)["1h"] == (shown, clicked, spent + 1_000, earned)


def test_the_day_as_reported_corrected_and_now(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(100)
    flow.send(given)
    flow.report()
    store.catch_up()
    applied(log, [correction(1, spend_micros=-40), correction(2, spend_micros=30, clicks=2, grain=Grain.DAY)])
    store.catch_up()
    found = store.database.rows(
        "SELECT toString(day), reported_spend_micros, corrected_spend_micros, spend_micros, corrected_clicks,"
        " corrections FROM kpi_daily_corrected ORDER BY campaign_id"
    )
    spent = counted(given)[2]
    assert found[0] == ("2026-03-02", spent, -10, spent - 10, 2, 2)
    assert found[1][2:] == (0, counted(given, "c1")[2], 0, 0)


@pytest.mark.parametrize(
    "record", [b"{}", b"[]", b'{"partition":0,"now_ms":1,"corrections":[{"correction_id":"x"}]}', b"\xff"]
)
def test_a_record_that_cannot_be_read_holds_up_nothing(store: Store, log: MemoryLog, record: bytes) -> None:
    log.append(topics.CORRECTIONS_APPLIED, 0, [record])
    applied(log, [correction(spend_micros=1)], late=False)
    store.catch_up()
    assert store.database.rows("SELECT count() FROM corrections_clean") == [(1,)]


# What pages read.


def test_a_page_reads_corrections_and_what_they_changed(store: Store, flow: SmallFlow, log: MemoryLog) -> None:
    given = events(100)
    flow.send(given)
    flow.report()
    store.catch_up()
    applied(log, [correction(number, spend_micros=number) for number in range(1, 6)], refused=[4])
    applied(log, [correction(9, campaign_id="c1", org_id="other", spend_micros=1)])
    store.catch_up()
    reader = CorrectionReader(store.database.url)
    first = reader.corrections("default", "", "", (2**60, ""), 3)
    rest = reader.corrections("default", "c0", "note", (first[-1]["applied_ms"], first[-1]["correction_id"]), 3)
    assert [row["correction_id"] for row in [*first, *rest]] == ["id5", "id4", "id3", "id2", "id1"]
    assert [bool(row["refused"]) for row in first] == [True, False, False]
    assert [row["spend_micros"] for row in reader.corrections_by_id("default", ["id2", "id9", "none"])] == [2]
    now, changed = reader.corrected("default", "c0", 0, TS_MS_MAX)
    assert (now["spend_micros"], changed["spend_micros"], changed["corrections"]) == (counted(given)[2] + 10, 10, 4)
    assert (now["from_ms"], now["to_ms"], now["days"]) == (START_MS, START_MS + 24 * HOUR_MS, 1)
    noon = START_MS + 12 * HOUR_MS
    assert reader.spend_of_days("default", "c0", noon, noon) == [
        (START_MS, START_MS + 24 * HOUR_MS, now["spend_micros"])
    ]
    assert reader.has_campaign("default", "c0")
    assert not reader.has_campaign("other", "c0")
    assert reader.corrected("other", "c0", 0, TS_MS_MAX)[1]["corrections"] == 0
