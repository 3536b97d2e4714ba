"""The analyst reads, and does nothing else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService


def ask(service: ChdbService, query: str, **given: str) -> httpx.Response:
    return httpx.post(service.address, params={"user": "analyst"} | given, content=query, timeout=30)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count() FROM events_clean",
        "WITH 1 AS one SELECT one + number FROM numbers(3)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT 1; ",
        "SELECT '; DROP TABLE events; --'",
        "SELECT `ts` FROM events_clean WHERE user_agent = 'a;b' -- the end",
        "SHOW TABLES",
        "SHOW CREATE TABLE events",
        "DESCRIBE TABLE kpi_daily",
        "EXPLAIN SELECT * FROM events_clean",
        "EXISTS TABLE events",
        "SELECT formatReadableSize(1024), format('{} {}', 'a', 'b')",
        "SELECT name FROM system.tables LIMIT 1",
        "SELECT sum(impressions) FROM kpi_minutely WHERE minute >= now() - INTERVAL 1 DAY FORMAT JSON",
    ],
)
def test_an_analyst_may(service: ChdbService, empty_database: Database, query: str) -> None:
    answer = ask(service, query, database=empty_database.name)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO events (event_id) VALUES ('x')",
        "INSERT INTO events (event_id) FORMAT CSV\nx\n",
        "INSERT INTO events (event_id) SELECT 'x'",
        "DROP TABLE events",
        "TRUNCATE TABLE events",
        "ALTER TABLE events DELETE WHERE 1",
        "CREATE TABLE mine (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE mine (a UInt8)",
        "CREATE FUNCTION f AS x -> x",
        "OPTIMIZE TABLE events",
        "RENAME TABLE events TO gone",
        "DETACH TABLE events",
        "SYSTEM SHUTDOWN",
        "KILL QUERY WHERE 1",
        "SET max_memory_usage = 0",
        "SET readonly = 0",
        "USE system",
        "SELECT 1 SETTINGS max_threads = 64",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1; DROP TABLE events",
        "SELECT 1 INTO OUTFILE '{folder}/written.csv'",
        "SELECT 1 INTO/**/OUTFILE '{folder}/written.csv' FORMAT CSV",
        "EXPLAIN SELECT 1 INTO OUTFILE '{folder}/written.csv'",
        "INSERT INTO FUNCTION file('{folder}/written.csv', 'CSV', 'a UInt8') SELECT 1",
        "SELECT file('{folder}/secret.csv')",
        "SELECT \"\\x66ile\"('{folder}/secret.csv')",
        "SELECT `file`('{folder}/secret.csv')",
        "SELECT FILE('{folder}/secret.csv')",
        "SELECT file/**/('{folder}/secret.csv')",
        "SELECT (SELECT max(file('{folder}/secret.csv')))",
        "SELECT arrayMap(x -> file(x), ['{folder}/secret.csv'])",
        "SELECT * FROM file('{folder}/secret.csv', 'LineAsString')",
        "SELECT * FROM '{folder}/secret.csv'",
        "SELECT * FROM `{folder}/secret.csv`",
        "SELECT * FROM default.`{folder}/secret.csv`",
        "SELECT 1 WHERE 'secret' IN `{folder}/secret.csv`",
        "DESCRIBE TABLE file('{folder}/secret.csv')",
        "DESCRIBE TABLE '{folder}/secret.csv'",
        "EXPLAIN SELECT file('{folder}/secret.csv')",
        "WITH (SELECT file('{folder}/secret.csv')) AS x SELECT x",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key.csv', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'system.one')",
        "SELECT * FROM mysql('127.0.0.1:3306', 'a', 'b', 'c', 'd')",
        "SELECT * FROM sqlite('{folder}/a.db', 't')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
        "SELECT * FROM Python('os')",
        "SELECT * FROM python(os)",
        "SELECT * FROM filesystem('{folder}')",
        "SELECT sleep(3)",
    ],
)
def test_an_analyst_may_not(service: ChdbService, empty_database: Database, tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.csv").write_text("secret\n")
    answer = ask(service, query.replace("{folder}", str(tmp_path)), database=empty_database.name)
    assert answer.status_code != 200, answer.text
    assert "secret\n" not in answer.text
    assert not (tmp_path / "written.csv").exists()
    assert empty_database.rows("SELECT count() FROM events") == [(0,)]


def test_settings_in_the_url_are_refused_to_an_analyst(service: ChdbService) -> None:
    assert ask(service, "SELECT 1", max_memory_usage="0").headers["x-clickhouse-exception-code"] == "164"


def test_a_parameter_cannot_name_a_file(service: ChdbService, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("secret\n")
    path = str(tmp_path / "secret.csv")
    for query in ("SELECT * FROM {t:Identifier}", "SELECT * FROM default.{t:Identifier}"):
        for given in ({}, {"database": "default"}):
            answer = ask(service, query, param_t=path, **given)
            assert answer.status_code != 200, answer.text
            assert "secret\n" not in answer.text


def test_passwords_are_asked_for_where_they_are_set(tmp_path: Path) -> None:
    service = ChdbService(tmp_path, clickhouse_password="one", clickhouse_analyst_password="two")
    service.start()
    try:
        statuses = {
            (user, password): httpx.post(service.address, content="SELECT 1", auth=(user, password)).status_code
            for user in ("default", "analyst")
            for password in ("", "one", "two")
        }
        assert [given for given, status in statuses.items() if status == 200] == [
            ("default", "one"),
            ("analyst", "two"),
        ]
        keyed = {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": "two"}
        assert httpx.post(service.address, content="SELECT 1", headers=keyed).status_code == 200
    finally:
        service.kill()
