"""What went missing after it was stored is found, written again, and windows add up again."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from storage.store import audit as audits
from storage.store.audit import AUDIT_GROUP, ROUND_EVERY_S, WHOLE_EVERY_S, Audit
from storage.store.event_feed import RECONCILE_S, EventFeed
from storage.store.feeds import topic_feeds
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, events
from tests.storage.test_verified_writes import filled
from tests.support.memory_log import MemoryLog

TABLES = ("events", "kpi_windows", "decisions", "dead_letters", "campaigns", "corrections")


class Stored:
    """A log that is in ClickHouse, and the audit of it with a clock set by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log = filled()
        now_s = iter(range(0, 10**9, int(RECONCILE_S)))
        self.feeds = [
            EventFeed(self.log, raw_ttl_days=90, clock=lambda: float(next(now_s))),
            *topic_feeds(self.log, raw_ttl_days=90, clock=lambda: float(next(now_s))),
        ]
        self.store()
        self.now_s = 0.0
        self.audit = self.restarted()

    def store(self) -> None:
        for _ in range(3):
            for feed in self.feeds:
                while feed.step(self.database.client):
                    pass

    def restarted(self) -> Audit:
        return Audit(self.log, raw_ttl_days=90, clock=lambda: self.now_s, now_ms=lambda: 77)

    def round(self, steps: int = 30) -> None:
        self.now_s += ROUND_EVERY_S
        for _ in range(steps):
            self.audit.step(self.database.client)

    def content(self) -> list[list[tuple[Any, ...]]]:
        # Reach of a window that was counted again is exact, and what counted it has no place in the log.
        plain = {"kpi_windows": "* EXCEPT (stored_at, log_offset, reach)", "campaigns": "*"}
        return [
            self.database.rows(f"SELECT {plain.get(table, '* EXCEPT (stored_at)')} FROM {table} FINAL ORDER BY ALL")
            for table in TABLES
        ]


@pytest.fixture
def stored(database: Database) -> Stored:
    return Stored(database)


def test_when_all_is_there_nothing_is_missing(stored: Stored) -> None:
    stored.round()
    last = stored.audit.last
    assert last is not None
    assert (last.events, last.missing, last.repaired, last.at_ms) == (313, 0, 0, 77)
    assert last.from_ms == START_MS
    assert last.rows > 300


def test_windows_written_again_keep_what_came_after_they_had_closed(stored: Stored) -> None:
    before = stored.content()
    stored.database.client.command("TRUNCATE TABLE kpi_windows")
    stored.round()
    assert stored.content() == before


def test_corrections_that_are_gone_come_back_with_their_windows(stored: Stored) -> None:
    before = stored.content()
    stored.database.client.command("TRUNCATE TABLE corrections")
    stored.round()
    assert stored.content() == before


def test_rows_that_are_gone_come_back_in_every_table(stored: Stored) -> None:
    before = stored.content()
    for table in TABLES:
        where = "log_offset % 3 = 0" if table == "events" else "log_offset >= 0"
        stored.database.client.command(f"DELETE FROM {table} WHERE {where}")
    assert stored.content() != before
    stored.round()
    assert stored.content() == before
    last = stored.audit.last
    assert last is not None
    assert last.missing == last.repaired > 100


def test_windows_counted_while_late_events_were_gone_are_counted_again(stored: Stored) -> None:
    stored.database.client.command("DELETE FROM events WHERE late = 1")
    stored.database.client.command("DELETE FROM kpi_windows WHERE log_offset = -1")
    stored.round()
    events_and_corrections = (
        "SELECT campaign_id, cost_micros AS m FROM events_clean"
        " UNION ALL SELECT campaign_id, spend_micros FROM corrections_clean WHERE refused = 0"
    )
    raw = f"SELECT campaign_id, toInt64(sum(m)) FROM ({events_and_corrections}) GROUP BY 1 ORDER BY 1"
    daily = "SELECT campaign_id, toInt64(sum(spend_micros)) FROM kpi_daily GROUP BY 1 ORDER BY 1"
    assert stored.database.rows(raw) == stored.database.rows(daily)


def test_it_goes_on_where_it_was_and_begins_anew_after_a_day(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "RECENT_BYTES", 0)
    stored.round()
    assert stored.log.committed(AUDIT_GROUP, topics.EVENTS, 0) == stored.log.end(topics.EVENTS, 0)
    stored.audit = stored.restarted()
    stored.round()
    assert stored.audit.last is None
    stored.now_s += WHOLE_EVERY_S
    stored.round()
    assert stored.audit.last is not None
    assert stored.audit.last.events == 313


def test_after_a_restart_the_recent_past_is_compared_again(stored: Stored) -> None:
    stored.round()
    stored.database.client.command("DELETE FROM events WHERE 1")
    stored.audit = stored.restarted()
    stored.round()
    assert stored.database.rows("SELECT count() FROM events_clean") == [(313,)]


def test_what_is_not_stored_yet_is_not_missing(stored: Stored, database: Database) -> None:
    other = MemoryLog()
    other.append(topics.EVENTS, 0, stored.log.records(topics.EVENTS))
    for record in stored.log.records(topics.VERDICTS):
        other.append(topics.VERDICTS, 0, [record])
    database.client.command("TRUNCATE TABLE events")
    stored.audit = Audit(other, raw_ttl_days=90, clock=lambda: stored.now_s)
    stored.round()
    assert stored.audit.last is None
    assert database.rows("SELECT count() FROM events") == [(0,)]


def test_what_retention_removed_is_left_alone(stored: Stored) -> None:
    middle = stored.log.records(topics.EVENTS)[:100]
    stored.log.drop_before(topics.EVENTS, 0, sum(len(record) + 1 for record in middle))
    stored.round()
    last = stored.audit.last
    assert last is not None
    assert (last.events, last.missing) == (213, 0)
    assert len(events(300)) == 300
