"""An organisation's analyst sees its own rows, by whatever way he asks."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from storage.client import connect
from storage.schema import prepare
from storage.service.organisations import WHERE_A_ROW_LIES
from tests.support.chdb_service import ChdbService

QUERIES = [
    "SELECT DISTINCT org_id FROM events",
    "SELECT DISTINCT org_id FROM events FINAL",
    "SELECT DISTINCT org_id FROM events_clean",
    "SELECT DISTINCT org_id FROM penstock.events",
    "SELECT DISTINCT e.org_id FROM events AS e",
    "SELECT DISTINCT org_id FROM (SELECT * FROM events)",
    "WITH x AS (SELECT * FROM events) SELECT DISTINCT org_id FROM x",
    "SELECT (SELECT groupUniqArray(org_id) FROM events)[1] AS org_id FROM system.one",
    "SELECT DISTINCT org_id FROM events WHERE org_id = 'two' OR 1",
    "SELECT DISTINCT b.org_id FROM numbers(1) AS a CROSS JOIN events AS b",
    "SELECT DISTINCT b.org_id FROM events AS a JOIN events AS b ON a.event_id != 'x'",
    "SELECT DISTINCT org_id FROM events UNION DISTINCT SELECT DISTINCT org_id FROM events",
    "SELECT any(org_id) FROM events GROUP BY org_id",
    "SELECT DISTINCT org_id FROM later",
    "SELECT DISTINCT org_id FROM later_view",
]
EMPTY = [
    "SELECT * FROM events WHERE org_id = 'two'",
    "SELECT 1 WHERE 'two' IN (SELECT org_id FROM events)",
    "SELECT 1 WHERE exists(SELECT 1 FROM events WHERE org_id = 'two')",
]
# What fails on a row of another's: the engine may look at no row of another's, in whatever order it takes conditions.
FAILS_ON_FOREIGN_ROWS = [
    "SELECT count() FROM events WHERE intDiv(1, toUInt8(event_id) % 2)",
    "SELECT count() FROM events WHERE org_id != 'two' AND intDiv(1, toUInt8(event_id) % 2)",
    "SELECT count() FROM (SELECT * FROM events) WHERE intDiv(1, toUInt8(event_id) % 2)",
    "SELECT count() FROM events WHERE intDiv(1, toUInt8(event_id) % 2) SETTINGS max_threads = 1",
    "SELECT count() FROM events AS a JOIN events AS b USING event_id WHERE intDiv(1, toUInt8(a.event_id) % 2)",
    "SELECT count() FROM events WHERE toUInt8(replaceOne(org_id, 'one', '1'))",
    "SELECT sum(intDiv(1, toUInt8(event_id) % 2)) FROM events",
]
# What computes on the dictionary of a column of few values would meet another's.
ASKS_A_DICTIONARY = [
    "SELECT DISTINCT match('a', replaceOne(org_id, 'two', '[two')) FROM events",
    "SELECT DISTINCT base32Decode(replaceOne(org_id, 'one', '')) = '' ? 0 : 1 FROM events",
    "SELECT (SELECT any(match('a', replaceOne(org_id, 'two', '[two'))) FROM events)",
]
# What fails on a row of the asker's own.
TELLS_A_VALUE = [
    "SELECT match('a', replaceOne(org_id, 'one', '[one')) FROM events",
    "SELECT base32Decode(replaceOne(org_id, 'one', 'one1')) FROM events",
    "SELECT (SELECT any(match('a', replaceOne(org_id, 'one', '[one'))) FROM events)",
]
REFUSED = [
    "SELECT DISTINCT org_id FROM events PREWHERE 1",
    "SELECT count() FROM events prewhere intDiv(1, toUInt8(event_id) % 2)",
    "SELECT 1 WHERE 1 IN (SELECT toUInt8(event_id) FROM events PREWHERE 1)",
    "EXPLAIN SELECT DISTINCT org_id FROM events PREWHERE 1",
    "SELECT * FROM plain",
    "SELECT * FROM totals",
    "SELECT * FROM merge('penstock', 'events')",
    "EXPLAIN ESTIMATE SELECT * FROM events",
    "SELECT * FROM events SETTINGS additional_table_filters = {}",
    "SELECT toUInt8((SELECT any(secret) FROM plain))",
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbService]:
    """A service with the rows of two organisations, and an analyst of each."""
    keys = {"api_keys": "k1:one,k2:two", "clickhouse_analysts": "ann:pw1:one, bob:pw2:two"}
    service = ChdbService(tmp_path_factory.mktemp("two"), **keys)
    service.start()
    with prepare(service.url("penstock"), raw_ttl_days=90, window_ttl_days=90):
        pass
    with connect(service.url("penstock")) as client:
        client.command(
            "CREATE MATERIALIZED VIEW totals ENGINE = SummingMergeTree ORDER BY org_id"
            " AS SELECT org_id, 1 AS n FROM events"
        )
        rows = "SELECT toString(number), if(number % 2, 'one', 'two') FROM numbers(10)"
        client.command(f"INSERT INTO events (event_id, org_id) {rows}")
        client.command("CREATE TABLE plain (secret String) ENGINE = MergeTree ORDER BY secret")
        client.command("INSERT INTO plain VALUES ('two')")
        client.command("CREATE TABLE later (org_id String) ENGINE = MergeTree ORDER BY org_id")
        client.command("INSERT INTO later SELECT org_id FROM events")
        client.command("CREATE VIEW later_view AS SELECT * FROM later UNION ALL SELECT org_id FROM events FINAL")
    yield service
    service.kill()


def ask(service: ChdbService, user: str, password: str, query: str) -> httpx.Response:
    known = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    return httpx.post(service.address, content=query, headers=known, timeout=60)


@pytest.mark.parametrize("query", QUERIES)
def test_only_the_own_organisation_is_seen(two: ChdbService, query: str) -> None:
    assert ask(two, "ann", "pw1", query).text == "one\n"
    assert ask(two, "bob", "pw2", query).text == "two\n"


@pytest.mark.parametrize("query", EMPTY)
def test_nothing_of_another_is_seen(two: ChdbService, query: str) -> None:
    answer = ask(two, "ann", "pw1", query)
    assert (answer.status_code, answer.text) == (200, "")


@pytest.mark.parametrize("query", FAILS_ON_FOREIGN_ROWS)
def test_no_condition_is_asked_of_anothers_rows(two: ChdbService, query: str) -> None:
    assert ask(two, "ann", "pw1", query).text == "5\n"


@pytest.mark.parametrize("query", ASKS_A_DICTIONARY)
def test_no_function_is_asked_of_anothers_values(two: ChdbService, query: str) -> None:
    assert ask(two, "ann", "pw1", query).text == "0\n"


@pytest.mark.parametrize("query", TELLS_A_VALUE)
def test_an_error_tells_no_value_of_a_row(two: ChdbService, query: str) -> None:
    answer = ask(two, "ann", "pw1", query)
    assert answer.status_code >= 400
    assert "one" not in answer.text
    assert "Code: " in answer.text


def test_the_names_of_places_are_all_that_the_engine_has(two: ChdbService) -> None:
    with connect(two.url("penstock")) as client:
        columns = client.query("DESCRIBE TABLE events SETTINGS describe_include_virtual_columns = 1").named_results()
        virtual = {column["name"] for column in columns if column["is_virtual"]}
    assert virtual - WHERE_A_ROW_LIES == {"_table", "_database"}


def test_an_error_in_the_statement_is_told_in_full(two: ChdbService) -> None:
    assert "orgid" in ask(two, "ann", "pw1", "SELECT orgid FROM events").text
    too_large = ask(
        two, "ann", "pw1", "SELECT length(groupArray(number)) FROM numbers(1000) SETTINGS max_memory_usage = 9"
    )
    assert "memory limit" in too_large.text


def test_counts_are_the_own(two: ChdbService) -> None:
    for query in ("SELECT count() FROM events", "SELECT count() FROM events_clean", "SELECT count() FROM events FINAL"):
        assert ask(two, "ann", "pw1", query).text == "5\n"


@pytest.mark.parametrize("query", REFUSED)
def test_what_cannot_be_told_apart_is_refused(two: ChdbService, query: str) -> None:
    answer = ask(two, "ann", "pw1", query)
    assert answer.headers["x-clickhouse-exception-code"] in ("164", "497"), answer.text


def test_with_several_organisations_nobody_sees_all_without_a_password(two: ChdbService) -> None:
    answer = ask(two, "analyst", "", "SELECT 1")
    assert answer.headers["x-clickhouse-exception-code"] == "516"
    assert "PENSTOCK_CLICKHOUSE_ANALYSTS" in answer.text
    assert ask(two, "ann", "wrong", "SELECT 1").status_code == 403
