"""Format Native for clients that name their protocol: the same values, with more told of each block."""

from __future__ import annotations

import httpx
import pytest

from storage.service.native import REVISION_MIN, framed
from tests.support.chdb_service import ChdbService

INFO = bytes([1, 0, 2, 255, 255, 255, 255, 0])
COLUMNS = [
    "number",
    "toString(number * 12345)",
    "repeat('x', number)",
    "toDecimal64(number, 3)",
    "toDecimal256(number, 3)",
    "toFixedString('abc', 5)",
    "toNullable(number)",
    "if(number % 2, NULL, 'é')",
    "toLowCardinality(toString(number % 3))",
    "CAST(if(number % 2, NULL, 'a'), 'LowCardinality(Nullable(String))')",
    "[toLowCardinality('a'), toLowCardinality(toString(number))]",
    "range(number % 5)",
    "arrayMap(x -> [toString(x)], range(number % 4))",
    "map('a', number, 'b', 2)",
    "map(toLowCardinality('k'), [number])",
    "(number, 'a', [1])",
    "CAST((number, 'a, (b'), 'Tuple(`a, (b` UInt64, x String)')",
    "CAST('b,', 'Enum8(\\'a(\\' = 1, \\'b,\\' = 2)')",
    "toDateTime64('2026-01-02 03:04:05.678', 3, 'Europe/Berlin')",
    "toDateTime('2026-01-02 03:04:05', 'UTC')",
    "toDate32('2026-01-02')",
    "generateUUIDv7() = generateUUIDv7()",
    "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "toIPv4('1.2.3.4')",
    "toIPv6('::1')",
    "toInt256(number)",
    "toFloat32(number)",
    "NULL",
    "[]",
    "tuple()",
    "toIntervalDay(number)",
    "(toFloat64(1), toFloat64(2))::Point",
    "[[(1., 2.)]]::Polygon",
    "true",
]


def told(service: ChdbService, columns: str, rows: int, revision: int = 0) -> bytes:
    """The answer in Native."""
    given = {"default_format": "Native"} | ({"client_protocol_version": str(revision)} if revision else {})
    query = f"SELECT {columns} FROM numbers({rows})"
    answer = httpx.post(service.address, params=given, content=query, headers=service.headers(), timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def column(block: bytes, rows: int, name: str) -> bytes:
    """The one column of a block, as it is to be framed: its name, its type, a zero, its values."""
    assert block[:2] == bytes([1, rows])
    at = 2 + 1 + len(name)
    at += 1 + block[at] if block[at] < 0x80 else 2 + (block[at] & 0x7F) + (block[at + 1] << 7)
    return block[2:at] + b"\0" + block[at:]


@pytest.mark.parametrize("expression", COLUMNS)
def test_a_columns_end_is_found(service: ChdbService, expression: str) -> None:
    first, last = (f"{expression} AS a", 7), ("toString(number) AS b", 7)
    expected = column(told(service, *first), 7, "a") + column(told(service, *last), 7, "b")
    framed_block = told(service, f"{first[0]}, {last[0]}", 7, REVISION_MIN)
    assert framed_block == INFO + bytes([2, 7]) + expected


def test_of_many_blocks_each_is_framed(service: ChdbService) -> None:
    query, rows = "number, toString(number) AS s", 200_000
    plain, longer = told(service, query, rows), told(service, query, rows, REVISION_MIN)
    blocks = longer.count(INFO)
    assert blocks > 1
    assert len(longer) == len(plain) + blocks * (len(INFO) + 2)


def test_no_rows_are_no_error(service: ChdbService) -> None:
    assert told(service, "number, 'a'", 0, REVISION_MIN) in (b"", INFO + told(service, "number, 'a'", 0))


def test_a_client_of_an_early_protocol_gets_what_it_got(service: ChdbService) -> None:
    assert told(service, "number", 3, REVISION_MIN - 1) == told(service, "number", 3)


def test_a_type_whose_layout_is_unknown_is_refused_in_one_sentence(service: ChdbService) -> None:
    given = {"default_format": "Native", "client_protocol_version": str(REVISION_MIN)}
    query = "SELECT 1::Dynamic"
    answer = httpx.post(service.address, params=given, content=query, headers=service.headers(), timeout=60)
    assert answer.headers["x-clickhouse-exception-code"] == "73"
    assert "cast it to String" in answer.text


def test_bytes_that_end_early_are_refused() -> None:
    whole = bytes([1, 2]) + b"\x01a" + b"\x06UInt64" + bytes(16)
    assert b"".join(framed([whole])) == INFO + whole[:11] + b"\0" + whole[11:]
    with pytest.raises(Exception, match="ends early"):
        list(framed([whole[:-1]]))
