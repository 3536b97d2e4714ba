"""clickhouse-connect against the service, and the api's named queries."""

from __future__ import annotations

from datetime import UTC, datetime

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from schemas.kpis import Level, Window
from storage.client import connect
from storage.queries import KpiReader
from storage.store.tables import decision_table, kpi_table
from tests.storage.conftest import Database
from tests.storage.small_flow import DAY_MS, START_MS, SmallFlow, events
from tests.support.chdb_service import ChdbService
from tests.support.decisions import decision
from tests.support.memory_log import MemoryLog


@pytest.fixture
def table(chdb_database: Database) -> Database:
    chdb_database.client.command(
        "CREATE TABLE t (a UInt64, b String, c LowCardinality(Nullable(String)), d DateTime64(3, 'UTC'))"
        " ENGINE = MergeTree ORDER BY a"
    )
    return chdb_database


def test_native_rows_come_back_as_they_went(table: Database) -> None:
    moment = datetime(2026, 1, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    rows = [[1, "x", None, moment], [2, "é\n\t'", "k", moment]]
    table.client.insert("t", rows, column_names=["a", "b", "c", "d"])
    found = table.client.query("SELECT * FROM t ORDER BY a", column_formats={}, query_tz="UTC").result_rows
    assert [(a, b, c) for a, b, c, _ in found] == [(1, "x", None), (2, "é\n\t'", "k")]
    assert found[0][3].replace(tzinfo=UTC) == moment


def test_arrow_goes_both_ways(table: Database) -> None:
    summary = table.client.insert_arrow("t", pa.table({"a": [5, 6], "b": ["one", "two"]}))
    assert summary.written_rows == 2
    assert table.client.query_arrow("SELECT a, b FROM t ORDER BY a").to_pydict() == {"a": [5, 6], "b": ["one", "two"]}


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_compression_both_ways(service: ChdbService, table: Database, compression: str | bool) -> None:
    with clickhouse_connect.get_client(
        host="127.0.0.1",
        port=service.port,
        password=service.password,
        database=table.name,
        compress=compression,
    ) as client:
        client.insert("t", [[n, "x" * 1_000] for n in range(2_000)], column_names=["a", "b"])
        assert client.query("SELECT sum(a), sum(length(b)) FROM t").result_rows == [(1_999_000, 2_000_000)]
        assert len(client.query("SELECT a, b FROM t").result_rows) == 2_000


def test_parameters_of_every_kind(table: Database) -> None:
    query = "SELECT {s:String}, {n:Int64}, {l:Array(String)}, {x:Nullable(String)}, {d:DateTime64(3)}"
    given = {"s": "it's\n\\", "n": -5, "l": ["a'b", "c"], "x": None, "d": datetime(2026, 1, 2, 3, 4, 5)}  # noqa: DTZ001
    found = table.client.query(query, parameters=given).result_rows[0]
    assert found[:4] == ("it's\n\\", -5, ["a'b", "c"], None)


def test_a_result_of_many_blocks_is_whole(table: Database) -> None:
    query = "SELECT number FROM numbers(3000000) WHERE number % 1000000 = 7"
    assert table.rows(query) == [(7,), (1_000_007,), (2_000_007,)]
    with table.client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as stream:
        assert sum(len(block) for block in stream) == 500_000


def test_errors_have_their_code(table: Database) -> None:
    with pytest.raises(DatabaseError) as raised:
        table.client.query("SELECT nope FROM t")
    assert raised.value.code == 47


def test_an_analyst_connects_and_reads(service: ChdbService, table: Database) -> None:
    with connect(service.url(table.name, user="analyst")) as analyst:
        assert analyst.query("SELECT count() FROM t").result_rows == [(0,)]
        with pytest.raises(DatabaseError):
            analyst.insert("t", [[1, "x"]], column_names=["a", "b"])
        with pytest.raises(DatabaseError):
            analyst.command("DROP TABLE t")


def test_windows_are_read_as_they_were_written(database: Database) -> None:
    flow = SmallFlow(MemoryLog())
    flow.send(events(200))
    flow.report()
    database.client.insert_arrow("kpi_windows", kpi_table(flow.log.records("kpis")))  # type: ignore[attr-defined]
    reader = KpiReader(database.url)
    rows = reader.windows("default", "c1", Window.MINUTE, Level.CAMPAIGN, START_MS, START_MS + DAY_MS, 100)
    mine = [event for event in events(200) if event.campaign_id == "c1"]
    assert sum(row["spend_micros"] for row in rows) == sum(event.cost_micros for event in mine)
    assert [row["window_start_ms"] for row in rows] == [START_MS, START_MS + 60_000, START_MS + 120_000]
    assert rows[0]["window_end_ms"] == START_MS + 60_000
    first = reader.windows("default", "c1", Window.MINUTE, Level.CAMPAIGN, START_MS, START_MS + DAY_MS, 1)
    assert first == rows[:1]
    series = reader.windows("default", "c1", Window.HOUR, Level.SERIES, START_MS, START_MS + DAY_MS, 100)
    assert sum(row["clicks"] for row in series) == sum(row["clicks"] for row in rows)
    assert reader.campaign_today("default") == []


def test_decisions_are_read_newest_first(database: Database) -> None:
    from schemas.decisions import Kind

    raw = [decision(n, Kind.PAUSE) for n in (1_000, 3_000, 2_000)]
    for _ in range(2):
        database.client.insert_arrow("decisions", decision_table(raw))
    rows = KpiReader(database.url).decisions("acme", "c1", 0, 10_000, 10)
    assert [row["decision_id"] for row in rows] == ["d3000", "d2000", "d1000"]


def test_a_reader_says_that_clickhouse_is_away_and_is_well_when_it_is_back(database: Database) -> None:
    away = KpiReader("http://127.0.0.1:1/penstock")
    with pytest.raises(ClickHouseError):
        away.campaign_today("default")
    reader = KpiReader(database.url)
    database.client.command("RENAME TABLE campaign_today TO gone")
    with pytest.raises(ClickHouseError):
        reader.campaign_today("default")
    database.client.command("RENAME TABLE gone TO campaign_today")
    assert reader.campaign_today("default") == []
