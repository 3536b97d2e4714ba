"""What ClickHouse acknowledges is not taken for stored: it is asked, and what is missing is written again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from schemas import topics
from schemas.control import CampaignRecord, encode_control
from schemas.corrections import Applied, Cause, Correction, encode_applied
from schemas.dead_letters import Reject, dead_letter
from schemas.decisions import Kind
from storage.insert import insert
from storage.store.event_feed import RECONCILE_S, EventFeed
from storage.store.feed import GROUP
from storage.store.feeds import topic_feeds
from storage.store.fingerprint import EVENTS, KPI_WINDOWS, SHAPES, prints, quick_contents
from storage.store.tables import MILLIS
from storage.store.verify import Place, UnwrittenError, missing
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, SmallFlow, events
from tests.support.decisions import decision
from tests.support.memory_log import MemoryLog


class LyingClient:
    """Acknowledges inserts and drops some of them, as an engine on a full disk did."""

    def __init__(self, client: Any, drops: Callable[[str], bool]) -> None:
        self._client = client
        self._drops = drops
        self.dropped = 0

    def raw_insert(self, table: str, **given: Any) -> Any:
        if self._drops(table):
            self.dropped += 1
            return None
        return self._client.raw_insert(table, **given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def definition(campaign_id: str) -> bytes:
    campaign = {"campaign_id": campaign_id, "name": "C", "currency": "EUR"}
    return encode_control(
        CampaignRecord(
            key=campaign_id, org_id="default", campaign_id=campaign_id, version=1, changed_by="me", changed_ms=0,
            campaign=campaign,
        )
    )  # fmt: skip


def filled() -> MemoryLog:
    """A log with records in every topic."""
    log = MemoryLog()
    flow = SmallFlow(log)
    flow.send([*events(300), *events(300)[:40]], parts=2)
    flow.report()
    flow.send(events(90, seed=2)[::7], late=True)
    log.append(topics.CONTROL, 0, [definition(name) for name in ("c0", "c1", "c2")])
    log.append(topics.DECISIONS, 0, [decision(n, Kind.PAUSE) for n in range(20)])
    letters = [
        dead_letter(b"{", Reject.MALFORMED_JSON, "", "cut", source=f"events/0@{n}", org_id="o", ts_ms=n)
        for n in range(5)
    ]
    log.append(topics.DEAD_LETTERS, 0, [msgspec.json.encode(letter) for letter in letters])
    changes = [
        Correction(
            correction_id=f"id{n}", org_id="default", campaign_id="c0", ts_ms=START_MS + n * 7_000, cause=Cause.NOTE,
            spend_micros=n - 3, clicks=n % 2, note="why",
        )
        for n in range(9)
    ]  # fmt: skip
    told = Applied(partition=0, now_ms=START_MS, corrections=changes, late=[*range(9)], refused=[4])
    log.append(topics.CORRECTIONS_APPLIED, 0, [encode_applied(told)])
    return log


FEEDS = ("events", "kpi_windows", "decisions", "dead_letters", "campaigns", "corrections")
TOPIC = {
    "events": topics.EVENTS, "kpi_windows": topics.KPIS, "decisions": topics.DECISIONS,
    "dead_letters": topics.DEAD_LETTERS, "campaigns": topics.CONTROL,
    "corrections": topics.CORRECTIONS_APPLIED,
}  # fmt: skip


@pytest.mark.parametrize("table", FEEDS)
def test_an_offset_is_not_committed_before_its_rows_are_there(database: Database, table: str) -> None:
    log, now_s = filled(), iter(range(0, 10**6, int(RECONCILE_S)))

    def clock() -> float:
        return float(next(now_s))

    feeds = [EventFeed(log, raw_ttl_days=90, clock=clock), *topic_feeds(log, raw_ttl_days=90, clock=clock)]
    if table == "corrections":
        # They wait for what the dataflow wrote before.
        for topic in (topics.VERDICTS, topics.KPIS):
            log.commit(GROUP, topic, 0, log.end(topic, 0))
    (feed,) = [feed for feed in feeds if feed.name == table]
    remaining = iter([True] * 3)
    liar = LyingClient(database.client, lambda _: next(remaining, False))
    for _ in range(3):
        with pytest.raises(UnwrittenError, match=f"of table {table}"):
            feed.step(liar)
        assert log.committed(GROUP, TOPIC[table], 0) is None
    for _ in range(5):
        feed.step(liar)
    assert liar.dropped == 3
    assert log.committed(GROUP, TOPIC[table], 0) == log.end(TOPIC[table], 0)
    assert database.rows(f"SELECT count() > 0 FROM {table}") == [(True,)]


def event_table(*rows: tuple[str, int, int], first_offset: int = 0) -> pa.Table:
    """(event_id, ts_ms, cost_micros) of campaign c."""
    return pa.table(
        {
            "event_id": [row[0] for row in rows],
            "type": pa.array([1 for _ in rows], pa.int8()),
            "ts": pa.array([row[1] for row in rows], MILLIS),
            "org_id": ["o" for _ in rows],
            "campaign_id": ["c" for _ in rows],
            "cost_micros": [row[2] for row in rows],
            "revenue_micros": pa.array([0 for _ in rows], pa.int64()),
            "log_partition": pa.array([0 for _ in rows], pa.uint16()),
            "log_offset": [first_offset + n for n, _ in enumerate(rows)],
        }
    )


def window_table(*rows: tuple[str, int, int], offset: int = 0) -> pa.Table:
    """(campaign_id, window_start_ms, version)"""
    plain = {name: ["" for _ in rows] for name in ("creative_id", "channel", "country", "device")}
    moments = pa.array([row[1] for row in rows], MILLIS)
    return pa.table(
        plain
        | {
            "org_id": ["o" for _ in rows],
            "campaign_id": [row[0] for row in rows],
            "level": ["campaign" for _ in rows],
            "window": ["10s" for _ in rows],
            "window_start": moments,
            "window_end": moments,
            "version": pa.array([row[2] for row in rows], pa.uint64()),
            "spend_micros": [row[2] * 10 for row in rows],
            "revenue_micros": pa.array([0 for _ in rows], pa.int64()),
            "log_offset": [offset for _ in rows],
        }
    )


TS = 1_772_409_600_000
# A gigantic number, a negative one, and an event before 1970.
ROWS = (("é-1", TS, 5), ("b", TS + 1, 2**62), ("c", 0, -7), ("d", TS + 3, 0))


def test_the_hashes_are_those_that_clickhouse_computes(database: Database) -> None:
    table = event_table(*ROWS)
    insert(database.client, "events", table)
    query = f"SELECT k, {EVENTS.content_sql()} FROM (SELECT *, {EVENTS.key_sql()} AS k FROM events) ORDER BY log_offset"
    given = prints(EVENTS, table)
    assert database.rows(query) == list(zip(given.keys.tolist(), given.contents.tolist(), strict=True))
    quick = [(int(number),) for number in quick_contents(EVENTS, table)]
    assert database.rows(f"SELECT {EVENTS.quick_sql()} FROM events ORDER BY log_offset") == quick


@pytest.mark.parametrize("table", SHAPES)
def test_a_table_has_every_column_that_is_compared(database: Database, table: str) -> None:
    shape = SHAPES[table]
    compared = f"{shape.version_sql()}, {shape.content_sql()}, {shape.quick_sql()}, log_offset"
    # Of no rows one row: the engine has read every column that is named.
    query = f"SELECT count(), count(({compared})) FROM (SELECT *, {shape.key_sql()} AS k FROM {table})"
    assert database.rows(query) == [(0, 0)]


def test_what_is_missing_is_named_row_by_row(database: Database) -> None:
    table = event_table(*ROWS)
    insert(database.client, "events", table.take([0, 2]))
    found = missing(database.client, EVENTS, table, Place(0, 4, 0))
    assert found.tolist() == [False, True, False, True]


def test_an_event_stored_twice_under_another_offset_is_there(database: Database) -> None:
    insert(database.client, "events", event_table(*ROWS))
    insert(database.client, "events", event_table(*ROWS, first_offset=100))
    database.client.command("OPTIMIZE TABLE events FINAL")
    for first in (0, 100):
        assert not missing(
            database.client, EVENTS, event_table(*ROWS, first_offset=first), Place(first, first + 4, 0)
        ).any()


def test_another_cost_than_the_logs_is_not_taken_for_the_row(database: Database) -> None:
    insert(database.client, "events", event_table(("a", TS, 5)))
    assert not missing(database.client, EVENTS, event_table(("a", TS, 5)), Place(0, 1, 0)).any()
    assert missing(database.client, EVENTS, event_table(("a", TS, 6)), Place(0, 1, 0)).any()


def test_a_window_replaced_by_a_newer_one_is_there_and_one_that_is_older_is_not(database: Database) -> None:
    insert(database.client, "kpi_windows", window_table(("a", TS, 9), ("b", TS, 3), offset=50))
    database.client.command("OPTIMIZE TABLE kpi_windows FINAL")
    given = window_table(("a", TS, 4), ("b", TS, 3), ("b", TS, 5), ("c", TS, 1))
    found = missing(database.client, KPI_WINDOWS, given, Place(0, 10))
    # Of the rows of a key only the newest must be there.
    assert found.tolist() == [False, False, True, True]


def test_many_rows_are_looked_for_in_several_questions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.store.verify.KEYS_MAX", 7)
    table = event_table(*[(f"e{n}", TS + n, n) for n in range(50)])
    insert(database.client, "events", table.slice(0, 25))
    assert missing(database.client, EVENTS, table, Place(0, 50, 0)).sum() == 25
