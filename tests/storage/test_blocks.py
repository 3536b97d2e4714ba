"""ClickHouse's own compressed blocks."""

from __future__ import annotations

import os
import struct

import httpx
import lz4.block
import pytest
from backports import zstd

from storage.service import blocks
from storage.service.errors import ServiceError
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService

RAW = b"1\tx\n" * 100_000 + os.urandom(5000)


def made(method: int, packed: bytes, raw_size: int) -> bytes:
    head = struct.pack("<BII", method, 9 + len(packed), raw_size) + packed
    return blocks._checksum(head) + head


def all_of(raw: bytes, **given: int) -> bytes:
    return blocks.unpacked(raw, given.get("bytes_max", 2**24))


@pytest.mark.parametrize("raw", [b"", b"1\n", RAW, b"\0" * (3 * 2**20 + 1)], ids=["none", "few", "some", "many"])
def test_what_is_packed_comes_back(raw: bytes) -> None:
    assert all_of(b"".join(blocks.packed([raw[:10], raw[10:]]))) == raw


def test_zstd_and_plain_blocks_are_read() -> None:
    body = made(blocks.ZSTD, zstd.compress(RAW), len(RAW)) + made(blocks.NONE, RAW, len(RAW))
    assert all_of(body) == RAW * 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(next(blocks.packed([RAW]))[:-1], 117, id="cut off"),
        pytest.param(next(blocks.packed([RAW]))[:20], 117, id="cut off in its head"),
        pytest.param(b"\0" + next(blocks.packed([RAW]))[1:], 40, id="another checksum"),
        pytest.param(made(0x99, b"abc", 3), 89, id="an unknown method"),
        pytest.param(made(blocks.LZ4, b"\xff" * 20, 100), 117, id="not lz4"),
        pytest.param(made(blocks.LZ4, lz4.block.compress(b"abc", store_size=False), 5), 117, id="shorter than named"),
        pytest.param(made(blocks.ZSTD, zstd.compress(b"\0" * 2**22), 2**20), 117, id="longer than named"),
        pytest.param(made(blocks.ZSTD, zstd.compress(b"\0" * 2**25), 2**25), 307, id="larger than it may be"),
        pytest.param(made(blocks.NONE, b"", 2**32 - 1), 307, id="a lie of 4 GiB"),
        pytest.param(b"SELECT 1", 117, id="no block at all"),
    ],
)
def test_broken_blocks_are_refused_in_one_sentence(body: bytes, code: int) -> None:
    with pytest.raises(ServiceError) as raised:
        all_of(body)
    assert raised.value.code == code


def test_room_is_taken_before_a_block_is_unpacked() -> None:
    taken: list[int] = []
    blocks.unpacked(b"".join(blocks.packed([RAW])), 2**24, taken.append)
    assert sum(taken) == len(RAW)


def test_the_service_speaks_them_both_ways(service: ChdbService, chdb_database: Database) -> None:
    chdb_database.client.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    rows = b"".join(b"%d\tx\n" % number for number in range(50_000))

    def ask(query: str, body: bytes, **given: str) -> httpx.Response:
        params = {"database": chdb_database.name, "query": query} | given
        return httpx.post(service.address, params=params, content=body, headers=service.headers(), timeout=60)

    sent = ask("INSERT INTO t FORMAT TSV", b"".join(blocks.packed([rows])), decompress="1")
    assert sent.status_code == 200, sent.text
    answer = ask("SELECT * FROM t ORDER BY a", b"", compress="1")
    assert all_of(answer.content) == rows
    assert int.from_bytes(answer.content[:16], "little") != 0
    analyst = {"user": "analyst", "password": "", "compress": "1"}
    several = httpx.post(service.address, params=analyst, content="SELECT number FROM numbers(400000)", timeout=60)
    assert all_of(several.content) == b"".join(b"%d\n" % number for number in range(400_000))
    packed_whole = ask("SELECT count() FROM t FORMAT JSON", b"", compress="1", wait_end_of_query="1")
    assert b"50000" in all_of(packed_whole.content)
