"""Bodies that grow, that crawl, that never end, and heads that never come: bounded before, while and after."""

from __future__ import annotations

import gzip
import selectors
import socket
import time
import zlib
from pathlib import Path

import httpx
import lz4.frame
import pytest
import zstandard

from storage.service import bodies, compression, connections
from storage.service.app import BODY_BYTES_MAX
from storage.service.bodies import Room
from storage.service.errors import ServiceError
from storage.service.statements import statement
from tests.support.chdb_service import ChdbService

MIB = 2**20


def zeros(count: int) -> bytes:
    return bytes(count)


def zstd_bomb(size: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    return b"".join([*(packer.compress(zeros(MIB)) for _ in range(size // MIB)), packer.flush()])


def lz4_bomb(size: int) -> bytes:
    return bytes(lz4.frame.compress(zeros(size)))


BOMBS = {
    "zstd": lambda: ("zstd", zstd_bomb(1024 * MIB)),
    "gzip": lambda: ("gzip", gzip.compress(zeros(600 * MIB), 9)),
    "gzip of many members": lambda: ("gzip", gzip.compress(zeros(4 * MIB), 9) * 200),
    "deflate": lambda: ("deflate", zlib.compress(zeros(600 * MIB), 9)),
    "lz4": lambda: ("lz4", lz4_bomb(600 * MIB)),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("user", ["default", "analyst"])
def test_a_bomb_is_refused_before_it_has_grown(service: ChdbService, kind: str, user: str) -> None:
    encoding, body = BOMBS[kind]()
    before = memory(service)
    headers = service.headers(user) | {"Content-Encoding": encoding}
    began = time.monotonic()
    answer = httpx.post(service.address, content=body, headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (413, "307")
    assert memory(service) - before < BODY_BYTES_MAX + 200 * MIB
    assert time.monotonic() - began < 30


def memory(service: ChdbService) -> int:
    """Peak resident memory of the service, bytes."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_millions_of_empty_members_cost_no_time(service: ChdbService) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceError, match="members"):
        compression.decompressed(gzip.compress(b"") * 300_000, "gzip", MIB)
    assert time.monotonic() - began < 2


def test_a_window_larger_than_the_limit_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    body = zstandard.ZstdCompressor(compression_params=parameters).compress(zeros(200 * MIB))
    with pytest.raises(ServiceError, match="not zstd"):
        compression.decompressed(body, "zstd", 500 * MIB)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_what_was_packed_comes_out_again(encoding: str, size: int) -> None:
    plain = bytes(index * 7 % 251 for index in range(size))
    packed = b"".join(compression.compressed([plain[: size // 2], plain[size // 2 :]], encoding))
    assert compression.decompressed(packed, encoding, 4 * MIB) == plain
    if encoding != "deflate":
        assert compression.decompressed(packed * 3, encoding, 12 * MIB) == plain * 3
    with pytest.raises(ServiceError, match=f"not {encoding}"):
        compression.decompressed(packed[:-3], encoding, 4 * MIB)


def send(service: ChdbService, head: str, *, user: str = "", body: bytes = b"") -> socket.socket:
    known = "".join(f"{name}: {value}\r\n" for name, value in service.headers(user).items()) if user else ""
    one = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    one.sendall(f"{head}\r\nHost: 127.0.0.1\r\n{known}\r\n".encode() + body)
    return one


@pytest.mark.parametrize(
    ("user", "length", "status"),
    [
        pytest.param("", 150 * MIB, b"403", id="without the password"),
        pytest.param("analyst", 150 * MIB, b"413", id="larger than an analyst may"),
        pytest.param("default", 10_000 * MIB, b"413", id="larger than anybody may"),
    ],
)
def test_a_body_is_refused_unread(service: ChdbService, user: str, length: int, status: bytes) -> None:
    with send(service, f"POST / HTTP/1.1\r\nContent-Length: {length}", user=user) as one:
        # Head and text may come apart; the connection ends behind them.
        answer = b"".join(iter(lambda: one.recv(65_536), b""))
        assert answer.split()[1] == status
        assert b"connection: close" in answer.lower()
        assert b"DB::Exception" in answer


def test_a_chunked_body_is_cut_where_it_is_too_large(service: ChdbService) -> None:
    with send(service, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked", user="analyst") as one:
        try:
            for _ in range(40):
                one.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        except OSError:
            return
        assert one.recv(65_536).split()[1] == b"413"


def test_a_body_that_crawls_is_cut(service: ChdbService) -> None:
    began = time.monotonic()
    with send(service, "POST / HTTP/1.1\r\nContent-Length: 1000", user="analyst", body=b"SELECT") as one:
        answer = one.recv(65_536)
    assert answer.split()[1] == b"408"
    assert time.monotonic() - began < bodies.PAUSE_S_MAX + 10


def test_a_head_that_never_ends_is_cut(service: ChdbService) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as one:
        one.sendall(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A")
        assert ended(one)
    assert time.monotonic() - began < connections.HEAD_S_MAX + 10


def test_a_head_that_grows_is_cut(service: ChdbService) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as one:
        one.sendall(b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        sent = 0
        try:
            while sent < 100:
                one.sendall(b"X-A: " + b"a" * 10_000 + b"\r\n")
                sent += 1
                time.sleep(0.01)
        except OSError:
            pass
        assert 20 < sent < 100


def test_a_thousand_open_heads_keep_nobody_out(service: ChdbService) -> None:
    opened: list[socket.socket] = []
    try:
        for _ in range(1_000):
            one = socket.create_connection(("127.0.0.1", service.port), timeout=60)
            one.sendall(b"GET /?query=")
            opened.append(one)
            if len(opened) % 250 == 0:
                answer = httpx.post(service.address, content="SELECT 1", headers=service.headers("analyst"), timeout=20)
                assert answer.text == "1\n"
    finally:
        for one in opened:
            one.close()


def ended(one: socket.socket) -> bool:
    try:
        return one.recv(65_536) == b""
    except ConnectionResetError:
        return True


def test_all_bodies_under_way_are_bounded_together() -> None:
    room = Room(100)
    with room.share() as first:
        first.take(60)
        with pytest.raises(ServiceError) as refused, room.share() as second:
            second.take(60)
        assert (refused.value.status, refused.value.code) == (503, 202)
    with room.share() as third:
        third.take(100)


def test_rooms_within_a_room_are_bounded_together() -> None:
    whole = Room(100)
    one, other = Room(80, whole), Room(80, whole)
    with one.share() as first, other.share() as second:
        first.take(70)
        with pytest.raises(ServiceError) as refused:
            second.take(40)
        assert (refused.value.status, refused.value.code) == (503, 202)
        second.take(30)
        with pytest.raises(ServiceError):
            first.take(20)
    with other.share() as third:
        third.take(80)


def test_many_analysts_bodies_are_bounded_together(tmp_path: Path) -> None:
    """Each keeps far below what he may have; together they are above what all analysts may."""
    names = [f"a{number}" for number in range(4)]
    service = ChdbService(tmp_path, clickhouse_analysts=", ".join(f"{name}:pw:{name}" for name in names))
    service.start()
    waiting: list[socket.socket] = []
    try:
        for name in names * 40:
            head = f"POST /?user={name}&password=pw HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MIB}\r\n\r\n"
            one = socket.create_connection(("127.0.0.1", service.port), timeout=60)
            one.sendall(head.encode() + b"-" * (MIB - 1))
            waiting.append(one)
        with selectors.DefaultSelector() as answers:
            for one in waiting:
                answers.register(one, selectors.EVENT_READ)
            refused = [key.fileobj for key, _ in answers.select(60)]
        assert refused, "40 MiB of each of four are below 64, but 160 MiB together are too much"
        assert isinstance(refused[0], socket.socket)
        answer = refused[0].recv(65_536)
        assert b" 503 " in answer.partition(b"\r\n")[0]
        assert b"x-clickhouse-exception-code: 202" in answer.lower()
        # The store's bodies have a room of their own.
        rows = b"1\n" * (8 * MIB)
        put = {"query": "INSERT INTO FUNCTION null('a UInt8') FORMAT TSV"}
        assert httpx.post(service.address, params=put, content=rows, headers=service.headers(), timeout=60).is_success
    finally:
        for one in waiting:
            one.close()
        service.kill()


@pytest.mark.parametrize("unit", ["(", "[", "SELECT (", "-", "CASE WHEN ", "tuple(", "((((", "[["])
def test_a_deeply_nested_statement_is_an_error_of_its_own(service: ChdbService, unit: str) -> None:
    query = ("SELECT " + unit * (200_000 // len(unit)))[:250_000]
    for user in ("analyst", "default"):
        answer = httpx.post(service.address, content=query, headers=service.headers(user), timeout=60)
        assert answer.status_code == 400, answer.text[:300]
    assert httpx.get(f"{service.address}/ping").status_code == 200


@pytest.mark.parametrize(
    "unit", [b"/*", b"'\\", b"$a$b", b"$$a$", b"\"'", b"`\\", b"''\"", b"/*'", b"$", b"--", b"(", b"#"]
)
def test_nothing_that_stays_open_makes_the_first_look_slow(unit: bytes) -> None:
    body = b"SELECT " + (unit + bytes(str(len(unit)), "ascii")) * (256 * 1024 // (len(unit) + 1))
    heredocs = b"SELECT " + b"".join(b"$a%d$ " % n for n in range(30_000))
    began = time.monotonic()
    for text in (body, heredocs, b"INSERT INTO t " + body[7:]):
        statement(b"", text)
    assert time.monotonic() - began < 5
