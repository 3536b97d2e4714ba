"""`penstock doctor --verify`: what the log has and ClickHouse has not is found per campaign and day, and repaired."""

from __future__ import annotations

from typing import Any

import pytest

from storage.store.compare import Comparer, Comparison, Sums
from tests.storage.conftest import Database
from tests.storage.small_flow import DAY_MS, START_MS
from tests.storage.test_audit import Stored

FAR_MS = 2**53


def compared(stored: Stored, **given: Any) -> Comparison:
    asked = {"from_ms": 0, "to_ms": FAR_MS, "repairs": True, "raw_ttl_days": 90, "now_ms": FAR_MS} | given
    return Comparer(stored.log, stored.database.client, pause=lambda _: None, **asked).run()


@pytest.fixture
def stored(database: Database) -> Stored:
    return Stored(database)


def test_equal_is_said_with_what_was_compared(stored: Stored) -> None:
    found = compared(stored)
    assert (found.equal, found.differences, found.missing) == (True, [], 0)
    assert (found.events, found.days, found.from_ms) == (313, 3, START_MS)


def test_what_is_missing_is_told_by_campaign_and_day_and_repaired(stored: Stored) -> None:
    stored.database.client.command("DELETE FROM events WHERE campaign_id = 'c1' AND log_offset % 2 = 0")
    gone = compared(stored, repairs=False)
    assert not gone.equal
    (events,) = [each for each in gone.differences if each.what == "events"]
    assert (events.day.campaign_id, events.day.start_ms, events.day.end_ms) == ("c1", START_MS, START_MS + DAY_MS)
    assert events.expected.events - events.found.events == gone.missing > 0
    assert any(each.what == "kpi_daily" and not each.repaired for each in gone.differences)
    mended = compared(stored)
    assert mended.equal
    assert mended.missing == mended.repaired == gone.missing
    assert compared(stored).differences == []


def test_a_daily_row_that_counts_too_little_is_counted_again(stored: Stored) -> None:
    stored.database.client.command("DELETE FROM kpi_windows WHERE window = 'day' AND campaign_id = 'c0'")
    found = compared(stored)
    (daily,) = found.differences
    assert (daily.what, daily.found, daily.repaired) == ("kpi_daily", Sums(), True)
    assert compared(stored).differences == []


def test_a_daily_row_that_counts_more_than_there_is_cannot_be_mended(stored: Stored) -> None:
    stored.database.client.command(
        "INSERT INTO kpi_windows SELECT * REPLACE (version + 5 AS version, spend_micros + 1 AS spend_micros)"
        " FROM kpi_windows FINAL WHERE window = 'day' AND campaign_id = 'c0' AND level = 'campaign'"
    )
    found = compared(stored)
    (daily,) = found.differences
    assert not found.equal
    assert "no longer in the log" in daily.note


def test_only_the_range_asked_for_is_compared(stored: Stored) -> None:
    assert compared(stored, to_ms=START_MS).events == 0
    first = compared(stored, to_ms=START_MS + 70_000).events
    assert 0 < first < 313
    assert compared(stored, from_ms=START_MS + 70_000).events == 313 - first


def test_a_day_that_is_open_may_be_seconds_behind(stored: Stored) -> None:
    stored.database.client.command("DELETE FROM kpi_windows WHERE window = 'day' AND campaign_id = 'c0'")
    found = compared(stored, repairs=False, now_ms=START_MS + 1)
    (daily,) = found.differences
    assert found.equal
    assert "still open" in daily.note


def test_corrections_are_compared_with_the_log_and_days_with_both(stored: Stored) -> None:
    stored.database.client.command("DELETE FROM corrections WHERE log_offset >= 0")
    gone = compared(stored, repairs=False)
    assert not gone.equal
    lost = {each.what: each for each in gone.differences}
    assert (lost["corrections"].expected.events, lost["corrections"].found.events) == (9, 0)
    assert lost["kpi_daily"].day.campaign_id == "c0"
    mended = compared(stored)
    assert mended.equal
    assert (mended.missing, mended.repaired) == (9, 9)
    assert compared(stored).differences == []
