"""What an insert does with the rows it is given."""

from __future__ import annotations

import time

import httpx
import pyarrow as pa
import pytest

from storage.insert import insert
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService


@pytest.fixture
def table(chdb_database: Database) -> Database:
    chdb_database.client.command(
        "CREATE TABLE t (a UInt64, b String, c LowCardinality(String) DEFAULT 'c', d UInt64 DEFAULT a + 1)"
        " ENGINE = MergeTree ORDER BY a"
    )
    return chdb_database


def post(service: ChdbService, table: Database, query: str, rows: bytes = b"", **settings: str) -> httpx.Response:
    given = {"query": query, "database": table.name} | settings
    return httpx.post(service.address, params=given, content=rows, headers=service.headers(), timeout=60)


def test_one_insert_is_one_part_so_that_it_is_whole_or_not_there(table: Database) -> None:
    batches = [pa.record_batch({"a": [n], "b": ["x" * 1000]}) for n in range(300)]
    assert insert(table.client, "t", pa.Table.from_batches(batches)) == 300
    big = pa.table({"a": pa.array(range(1_000_000), pa.uint64()), "b": ["y"] * 1_000_000})
    assert insert(table.client, "t", big) == 1_000_000
    parts = f"SELECT rows FROM system.parts WHERE database = '{table.name}' AND table = 't' AND active"
    made = f"SELECT count() FROM system.parts WHERE database = '{table.name}' AND table = 't' AND level = 0"
    assert table.rows(made)[0][0] <= 2, table.rows(parts)


def test_rows_go_to_the_columns_that_the_insert_names(service: ChdbService, table: Database) -> None:
    insert(table.client, "t", pa.table({"b": ["first"], "a": pa.array([7], pa.uint64())}))
    for query, rows in [
        ("INSERT INTO t (b, a) FORMAT CSV", b'"x",1\n'),
        ("INSERT INTO t (d, b, a) FORMAT JSONEachRow", b'{"a": 2, "b": "y", "d": 20, "unknown": 1}\n'),
        ("INSERT INTO t FORMAT JSONEachRow", b'{"b": "z", "c": null, "a": 3}\n{}\n'),
        ("INSERT INTO t (* EXCEPT (c, d)) FORMAT Values", b"(4, 'v'), (5, 'w')"),
        ("INSERT INTO t (a, b) SETTINGS max_insert_block_size = 1000 FORMAT TSV", b"6\tt\n"),
        ("INSERT INTO t (a) FORMAT TSV", b""),
    ]:
        answer = post(service, table, query, rows)
        assert answer.status_code == 200, answer.text
    expected = [(0, "", "c", 1), (1, "x", "c", 2), (2, "y", "c", 20), (3, "z", "c", 4), (4, "v", "c", 5)]
    expected += [(5, "w", "c", 6), (6, "t", "c", 7), (7, "first", "c", 8)]
    assert table.rows("SELECT a, b, c, d FROM t ORDER BY a") == expected


def test_the_answer_says_how_many_rows_were_written(service: ChdbService, table: Database) -> None:
    answer = post(service, table, "INSERT INTO t (a) FORMAT TSV", b"1\n2\n3\n")
    assert '"written_rows":"3"' in answer.headers["x-clickhouse-summary"]


def test_an_error_in_the_rows_names_the_row_and_no_file_of_the_service(service: ChdbService, table: Database) -> None:
    answer = post(service, table, "INSERT INTO t (a) FORMAT TSV", b"1\nnonsense\n")
    assert answer.status_code == 400
    assert "(at row 2)" in answer.text
    assert "/proc" not in answer.text
    assert table.rows("SELECT count() FROM t") == [(0,)]


def test_an_insert_keeps_its_pace(table: Database) -> None:
    rows = 500_000
    block = pa.table({"a": pa.array(range(rows), pa.uint64()), "b": [f"user-{n % 1000}" for n in range(rows)]})
    insert(table.client, "t", block)
    began = time.perf_counter()
    for _ in range(3):
        insert(table.client, "t", block)
    # Millions a second on an idle machine; the bound is for a busy one.
    assert 3 * rows / (time.perf_counter() - began) > 100_000
