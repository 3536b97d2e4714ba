"""ClickHouse's HTTP interface as curl and BI tools use it."""

from __future__ import annotations

import gzip
import threading
import time
from pathlib import Path

import httpx
import pytest
import zstandard

from storage.service.server import READER_RESULT_BYTES_MAX
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService


def ask(service: ChdbService, body: str | bytes = "", method: str = "POST", **given: object) -> httpx.Response:
    known = {} if "user" in given else service.headers()
    headers = known | dict(given.pop("headers", {}))  # type: ignore[call-overload]
    return httpx.request(method, service.address, params=given, content=body, headers=headers, timeout=30)  # type: ignore[arg-type]


def test_ping_is_answered_without_a_user(service: ChdbService) -> None:
    assert httpx.get(f"{service.address}/ping").text == "Ok.\n"


@pytest.mark.parametrize(
    ("query", "body"),
    [("SELECT 1 + 1", ""), ("", "SELECT 1 + 1"), ("SELECT 1", "+ 1"), ("", "SELECT 1 + 1;\n")],
    ids=["in the URL", "in the body", "from one into the other", "with a semicolon"],
)
def test_a_query_comes(service: ChdbService, query: str, body: str) -> None:
    assert ask(service, body, query=query).text == "2\n"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"query": "SELECT 1 AS a, 'x' AS b"}, "1\tx\n"),
        ({"query": "SELECT 1 AS a, 'x' AS b", "default_format": "CSV"}, '1,"x"\n'),
        ({"query": "SELECT 1 AS a FORMAT JSONEachRow", "default_format": "CSV"}, '{"a":1}\n'),
        ({"query": "SELECT 1 AS a", "headers": {"X-ClickHouse-Format": "JSONEachRow"}}, '{"a":1}\n'),
    ],
    ids=["tab separated by default", "as default_format says", "its own FORMAT goes first", "as the header says"],
)
def test_the_answer_is_in_the_format(service: ChdbService, given: dict[str, object], text: str) -> None:
    answer = ask(service, **given)
    assert answer.text == text
    assert answer.headers["x-clickhouse-format"] in ("TabSeparated", "CSV", "JSONEachRow")


def test_parameters_are_values_and_never_sql(service: ChdbService) -> None:
    answer = ask(service, "SELECT {name:String}, {n:UInt8} + 1", param_name="x'; DROP TABLE t", param_n="4")
    assert answer.text == "x\\'; DROP TABLE t\t5\n"


def test_settings_hold_for_their_request_only(service: ChdbService) -> None:
    assert ask(service, "SELECT getSetting('max_block_size')", max_block_size="7").text == "7\n"
    assert ask(service, "SELECT getSetting('max_block_size')").text != "7\n"


def test_transport_settings_are_taken_politely(service: ChdbService) -> None:
    assert (
        ask(service, "SELECT 1", session_id="s", query_id="q7", buffer_size="4096").headers["x-clickhouse-query-id"]
        == "q7"
    )


@pytest.mark.parametrize(
    ("query", "code", "status", "name"),
    [
        ("SELEC 1", "62", 400, "SYNTAX_ERROR"),
        ("SELECT nope", "47", 404, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nope", "60", 404, "UNKNOWN_TABLE"),
        ("SELECT * FROM nope.nope", "81", 404, "UNKNOWN_DATABASE"),
        ("SELECT throwIf(1)", "395", 400, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1 FORMAT Nope", "73", 404, "UNKNOWN_FORMAT"),
        ("SELECT {x:String}", "456", 400, "UNKNOWN_QUERY_PARAMETER"),
    ],
)
def test_an_error_has_its_code_and_status(service: ChdbService, query: str, code: str, status: int, name: str) -> None:
    answer = ask(service, query)
    assert (answer.headers["x-clickhouse-exception-code"], answer.status_code) == (code, status)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name})" in answer.text


def test_an_unknown_setting_is_an_error_as_in_clickhouse(service: ChdbService) -> None:
    assert ask(service, "SELECT 1", no_such_setting="1").headers["x-clickhouse-exception-code"] == "115"


def test_a_get_changes_nothing(service: ChdbService, chdb_database: Database) -> None:
    answer = ask(service, method="GET", query="DROP TABLE events", database=chdb_database.name)
    assert answer.headers["x-clickhouse-exception-code"] == "164"
    assert ask(service, method="GET", query="SELECT count() FROM events", database=chdb_database.name).text == "0\n"


def _gzip(raw: bytes) -> bytes:
    return gzip.compress(raw)


def _zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", _gzip), ("zstd", _zstd)], ids=["gzip", "zstd"])
def test_rows_come_compressed(service: ChdbService, chdb_database: Database, encoding: str, pack: object) -> None:
    rows = b'{"dead_letter_id":"a","reason":"r1"}\n{"dead_letter_id":"b","reason":"r2"}\n'
    answer = ask(
        service,
        pack(rows),  # type: ignore[operator]
        query="INSERT INTO dead_letters FORMAT JSONEachRow",
        database=chdb_database.name,
        headers={"Content-Encoding": encoding},
    )
    assert '"written_rows":"2"' in answer.headers["x-clickhouse-summary"]
    assert chdb_database.rows("SELECT dead_letter_id, reason FROM dead_letters ORDER BY 1") == [
        ("a", "r1"),
        ("b", "r2"),
    ]


def test_rows_follow_the_statement_in_the_body(service: ChdbService, chdb_database: Database) -> None:
    ask(service, 'INSERT INTO dead_letters (dead_letter_id) FORMAT CSV\n"x"\n"y"\n', database=chdb_database.name)
    ask(service, "INSERT INTO dead_letters (dead_letter_id) VALUES ('z')", database=chdb_database.name)
    assert chdb_database.rows("SELECT dead_letter_id FROM dead_letters ORDER BY 1") == [("x",), ("y",), ("z",)]


def test_broken_rows_are_refused_and_none_is_kept(service: ChdbService, chdb_database: Database) -> None:
    answer = ask(service, "INSERT INTO kpi_windows (version) FORMAT CSV\n1\nnonsense\n", database=chdb_database.name)
    assert answer.status_code == 400
    assert chdb_database.rows("SELECT count() FROM kpi_windows") == [(0,)]


def test_a_compressed_answer_is_the_same_answer(service: ChdbService) -> None:
    query = "SELECT number FROM numbers(100000)"
    plain = ask(service, query)
    packed = ask(service, query, enable_http_compression="1", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    assert "content-encoding" not in plain.headers


def test_an_error_in_the_middle_of_an_answer_breaks_it_off(service: ChdbService) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(service, "SELECT toString(number), throwIf(number = 9999999) FROM numbers(10000000)")
    assert ask(service, "SELECT 1").text == "1\n"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Host": "evil.example"}],
    ids=["of another origin", "by a name that points to loopback"],
)
def test_a_web_page_cannot_reach_the_service(service: ChdbService, headers: dict[str, str]) -> None:
    assert ask(service, "SELECT 1", headers=headers).status_code == 403


def test_a_wrong_password_or_user_is_refused(service: ChdbService) -> None:
    assert ask(service, "SELECT 1", user="nobody").status_code == 403
    assert (
        httpx.post(service.address, content="SELECT 1", auth=("default", "wrong")).headers[
            "x-clickhouse-exception-code"
        ]
        == "516"
    )


SLOW = "SELECT count() FROM numbers(20000000000) WHERE sipHash64(number) = 1"
IS_SLOW = "query LIKE '%sipHash64(number) = 1%' AND query LIKE 'SELECT%' AND query NOT LIKE '%processes%'"


def test_an_insert_goes_on_beside_a_long_query_of_an_analyst(service: ChdbService, chdb_database: Database) -> None:
    answers: list[httpx.Response] = []
    asked = {"params": {"user": "analyst"}, "content": SLOW, "timeout": 120}
    analyst = threading.Thread(target=lambda: answers.append(httpx.post(service.address, **asked)))  # type: ignore[arg-type]
    analyst.start()
    try:
        deadline = time.monotonic() + 20
        while chdb_database.rows(f"SELECT count() FROM system.processes WHERE {IS_SLOW}") == [(0,)]:
            assert time.monotonic() < deadline, "the analyst's query did not start"
        for n in range(5):
            ask(service, f"INSERT INTO dead_letters (dead_letter_id) VALUES ('{n}')", database=chdb_database.name)
        assert chdb_database.rows("SELECT count() FROM dead_letters") == [(5,)]
        assert not answers, "the query must still run"
    finally:
        ask(service, f"KILL QUERY WHERE {IS_SLOW} ASYNC")
        analyst.join(60)
    assert answers[0].headers["x-clickhouse-exception-code"] == "394"


def test_an_analyst_cannot_have_a_result_that_does_not_fit(service: ChdbService) -> None:
    pieces = READER_RESULT_BYTES_MAX // 1_000_000 + 10
    query = f"SELECT repeat(toString(number % 10), 1000000) FROM numbers({pieces}) FORMAT JSON"
    assert ask(service, query, user="analyst").headers["x-clickhouse-exception-code"] in ("396", "241")


def test_an_analyst_cannot_have_the_memory_of_the_machine(service: ChdbService) -> None:
    greedy = "SELECT length(groupArray(repeat('x', 1000000))) FROM numbers(1000000)"
    assert ask(service, greedy, user="analyst").headers["x-clickhouse-exception-code"] == "241"
    assert ask(service, "SELECT 1").text == "1\n"


def test_a_second_service_on_the_same_folder_says_so_and_ends(tmp_path: Path) -> None:
    first, second = ChdbService(tmp_path), ChdbService(tmp_path)
    first.start()
    try:
        with pytest.raises(RuntimeError, match="does another process use it"):
            second.start()
        assert ask(first, "SELECT 1").text == "1\n"
    finally:
        first.kill()
        second.kill()
