"""Tables and views: made once, changed by settings, exact before the engine has merged."""

from __future__ import annotations

import pyarrow as pa
import pytest

from storage.insert import insert
from storage.schema import migrate, migrations, prepare, statements, views
from storage.store.tables import MILLIS
from tests.storage.conftest import Database

DAY_2013 = 1_382_313_600_000


def event_rows(*rows: tuple[str, int, int]) -> pa.Table:
    """(event_id, ts_ms, cost_micros)"""
    return pa.table(
        {
            "event_id": [row[0] for row in rows],
            "type": pa.array([1 for _ in rows], pa.int8()),
            "ts": pa.array([row[1] for row in rows], MILLIS),
            "campaign_id": ["c" for _ in rows],
            "cost_micros": [row[2] for row in rows],
        }
    )


def window_rows(*rows: dict[str, object]) -> pa.Table:
    defaults: dict[str, object] = {
        "org_id": "default", "campaign_id": "c", "level": "campaign", "window": "1m", "window_start": DAY_2013,
        "window_end": DAY_2013 + 60_000, "impressions": 0, "clicks": 0, "conversions": 0, "spend_micros": 0,
        "revenue_micros": 0, "reach": 0, "version": 1,
    }  # fmt: skip
    full = [defaults | row for row in rows]
    table = pa.table({name: [row[name] for row in full] for name in defaults})
    for name in ("window_start", "window_end"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(MILLIS))
    return table


def test_migrating_again_applies_nothing(database: Database) -> None:
    assert migrate(database.client) == []
    assert database.rows("SELECT max(version) FROM schema_versions") == [(migrations()[-1][0],)]


def test_a_migration_that_was_cut_off_is_made_whole(database: Database) -> None:
    database.client.command("TRUNCATE TABLE schema_versions")
    assert migrate(database.client) == [version for version, _ in migrations()]


def _as_it_was(database: Database, version: int) -> None:
    """The database as a Penstock made it that knew the migrations up to this one, and two rows."""
    tables = database.rows("SELECT name, engine FROM system.tables WHERE database = currentDatabase()")
    for name, engine in tables:
        database.client.command(f"DROP {'VIEW' if engine == 'View' else 'TABLE'} {name} SYNC")
    for _, sql in migrations()[:version]:
        for statement in statements(sql):
            database.client.command(statement)
    insert(database.client, "events", event_rows(("a", DAY_2013, 5), ("b", DAY_2013 + 1, 7)))
    insert(database.client, "kpi_windows", window_rows({"version": 3, "impressions": 2}))


_ROWS = "SELECT count(), sum(cost_micros), sum(cityHash64(*)) FROM events FINAL"
_DICTIONARIES = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND type LIKE 'LowCard%'"


@pytest.mark.parametrize("done", [0, 2, 6])
def test_columns_become_plain_strings_wherever_it_was_cut_off(database: Database, done: int) -> None:
    _as_it_was(database, 3)
    before, windows = database.rows(_ROWS), database.rows("SELECT cityHash64(*) FROM kpi_windows")
    assert len(database.rows(_DICTIONARIES)) > 40
    for statement in (statements(dict(migrations())[4]) + views())[:done]:
        database.client.command(statement)
    assert migrate(database.client) == [version for version, _ in migrations()]
    assert database.rows(_DICTIONARIES) == []
    assert database.rows(_ROWS) == before
    assert database.rows("SELECT cityHash64(*) FROM kpi_windows") == windows
    insert(database.client, "events", event_rows(("c", DAY_2013, 5)))
    assert database.rows("SELECT count() FROM events_clean WHERE campaign_id = 'c'") == [(3,)]


def test_no_migration_has_a_number_twice() -> None:
    numbers = [version for version, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(statements(sql) for _, sql in migrations())


def test_expiry_follows_the_settings(database: Database) -> None:
    prepare(database.url, raw_ttl_days=7, window_ttl_days=400).close()
    engines = dict(database.rows("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"))
    assert "toIntervalDay(7)" in engines["events"]
    assert "toIntervalDay(7)" in engines["dead_letters"]
    assert "toIntervalDay(400)" in engines["kpi_windows"]
    assert "TTL" not in engines["decisions"]


def test_events_of_an_old_day_stay_as_long_as_those_of_today(database: Database) -> None:
    insert(database.client, "events", event_rows(("old", DAY_2013, 5)))
    database.client.command(
        "INSERT INTO events (event_id, ts, stored_at) SELECT 'expired', now64(3), now64(3) - toIntervalDay(91)"
    )
    database.client.command("OPTIMIZE TABLE events FINAL")
    assert database.rows("SELECT event_id FROM events_clean") == [("old",)]


def test_years_of_event_times_go_in_at_once(database: Database) -> None:
    month = 31 * 86_400_000
    insert(database.client, "events", event_rows(*[(f"e{n}", 946_684_800_000 + n * month, 1) for n in range(130)]))
    assert database.rows("SELECT count() FROM events_clean") == [(130,)]


def test_an_event_written_twice_counts_once_before_any_merge(database: Database) -> None:
    database.client.command("SYSTEM STOP MERGES events")
    for _ in range(3):
        insert(database.client, "events", event_rows(("a", DAY_2013, 1_999_999), ("b", DAY_2013 + 1, 1)))
    assert database.rows("SELECT count() FROM events") == [(6,)]
    assert database.rows("SELECT count(), sum(cost_micros), toString(sum(cost)) FROM events_clean") == [
        (2, 2_000_000, "2")
    ]


def test_of_a_window_the_row_with_the_most_events_counts(database: Database) -> None:
    database.client.command("SYSTEM STOP MERGES kpi_windows")
    for version in (3, 9, 5):
        row = {"version": version, "impressions": version, "spend_micros": version * 1_000}
        insert(database.client, "kpi_windows", window_rows(row))
    assert database.rows("SELECT impressions, spend_micros, toString(spend) FROM kpi_minutely") == [(9, 9_000, "0.009")]


def test_rates_without_a_denominator_are_null(database: Database) -> None:
    insert(database.client, "kpi_windows", window_rows({"impressions": 1_000, "clicks": 0, "spend_micros": 2_500_000}))
    rates = "ctr, cvr, cpm, cpc, cpa, roas, frequency"
    assert database.rows(f"SELECT {rates} FROM kpi_minutely") == [(0.0, None, 2.5, None, None, 0.0, None)]


@pytest.mark.parametrize(
    ("zone", "start", "end", "day"),
    [
        ("Asia/Tokyo", "2026-03-01 15:00:00", "2026-03-02 15:00:00", "2026-03-02"),
        ("Pacific/Kiritimati", "2026-03-01 10:00:00", "2026-03-02 10:00:00", "2026-03-02"),
        ("Pacific/Honolulu", "2026-03-01 10:00:00", "2026-03-02 10:00:00", "2026-03-01"),
        ("Europe/Berlin", "2026-03-28 23:00:00", "2026-03-29 22:00:00", "2026-03-29"),
        ("Europe/Berlin", "2026-10-24 22:00:00", "2026-10-25 23:00:00", "2026-10-25"),
    ],
    ids=["east", "far east", "far west", "23 hours", "25 hours"],
)
def test_a_day_is_the_campaigns_own(database: Database, zone: str, start: str, end: str, day: str) -> None:
    database.client.command(
        "INSERT INTO campaigns (org_id, campaign_id, name, currency, time_zone, version)"
        f" VALUES ('default', 'c', 'C', 'EUR', '{zone}', 1)"
    )
    database.client.command(
        "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, version)"
        f" VALUES ('default', 'c', 'campaign', 'day', '{start}', '{end}', 1)"
    )
    assert database.rows("SELECT toString(day), currency FROM kpi_daily") == [(day, "EUR")]


def test_campaign_today_is_the_day_that_is_now(database: Database) -> None:
    bounds = "now64(3) - toIntervalHour({0}), now64(3) + toIntervalHour({1})"
    for campaign, window in (("now", bounds.format(3, 21)), ("before", bounds.format(30, -6))):
        database.client.command(
            "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, impressions,"
            f" spend_micros, version) SELECT 'default', '{campaign}', 'campaign', 'day', {window}, 4, 1000000, 4"
        )
    database.client.command(
        "INSERT INTO campaigns (org_id, campaign_id, time_zone, daily_budget_micros, version)"
        " VALUES ('default', 'now', 'UTC', 4000000, 1)"
    )
    today = "SELECT campaign_id, impressions, budget_utilisation FROM campaign_today"
    assert database.rows(today) == [("now", 4, 0.25)]
    assert database.rows("SELECT campaign_id FROM campaign_latest_day ORDER BY 1") == [("before",), ("now",)]


def test_rolling_sums_end_with_the_newest_window(database: Database) -> None:
    rows = [
        {"window": "10s", "window_start": DAY_2013 + at, "window_end": DAY_2013 + at + 10_000, "impressions": 1}
        for at in (0, 350_000, 540_000, 550_000, 590_000)
    ]
    insert(database.client, "kpi_windows", window_rows(*rows))
    assert database.rows("SELECT span, impressions FROM kpi_rolling ORDER BY impressions") == [
        ("1m", 3), ("5m", 4), ("1h", 5),
    ]  # fmt: skip
