"""Slowloris against a real server: whoever keeps heads and bodies open is in nobody else's way."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.connections import ConnectionLimits, Connections, GuardedWebSocket, guarded
from tests.support.serve import served
from tests.support.until import until

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
WHOLE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
# Half of the connections is one address's.
LIMITS = ConnectionLimits(heads_max=100, bodies_max=50, connections_max=3_000, head_s=60.0, rest_s=1.0)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers /early before the body is there, anything else behind it."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    request = Request(scope, receive)
    if scope["path"] != "/early":
        await request.body()
    answer: Response = PlainTextResponse(request.client.host if request.client else "")
    await answer(scope, receive, send)


@contextmanager
def guarded_server(limits: ConnectionLimits = LIMITS, **named: Any) -> Iterator[tuple[Connections, int]]:
    bounds = Connections(limits, **named)
    with served(app, http=guarded(bounds), ws=GuardedWebSocket, loop="uvloop", proxy_headers=False) as port:
        yield bounds, port


@pytest.fixture
def open_files() -> Iterator[None]:
    """Enough files for both ends of a few thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8_192
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine lets a process open {hard} files; the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peer(port: int, address: str, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))
    connection.sendall(sent)
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """What comes until the peer closes or is quiet behind a whole answer; empty when it was cut off."""
    told = b""
    try:
        while part := connection.recv(65_536):
            told += part
            if b"\r\n\r\n" in told:
                break
    except OSError:
        pass
    return told


def is_cut(connection: socket.socket) -> bool:
    """Does the server end it, however much is sent?"""
    try:
        for _ in range(10_000):
            connection.sendall(b"x" * 65_536)
    except OSError:
        return True
    return False


def is_served(port: int, address: str) -> bool:
    with peer(port, address, WHOLE) as connection:
        return answer_of(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("open_files")
def test_two_thousand_half_open_heads_of_one_address_keep_nobody_from_being_served() -> None:
    with guarded_server() as (bounds, port), ExitStack() as held:
        for _ in range(2_000):
            held.enter_context(peer(port, "127.0.0.2", HALF))
        assert is_served(port, "127.0.0.3")
        # Its own quick requests, too.
        assert is_served(port, "127.0.0.2")
        assert sum(map(len, bounds._unfinished.values())) <= LIMITS.heads_max + 2


@pytest.mark.usefixtures("open_files")
def test_bodies_that_never_end_are_bounded_per_address() -> None:
    with guarded_server() as (bounds, port), ExitStack() as held:
        for _ in range(300):
            held.enter_context(peer(port, "127.0.0.2", POST % (b"body", 100) + b"x"))
        assert is_served(port, "127.0.0.3")
        assert sum(map(len, bounds._unfinished.values())) <= LIMITS.bodies_max + 2


@pytest.mark.usefixtures("open_files")
def test_an_address_that_opens_every_connection_leaves_half_of_them() -> None:
    limits = ConnectionLimits(connections_max=100)
    with guarded_server(limits) as (_, port), ExitStack() as held:
        for _ in range(200):
            held.enter_context(peer(port, "127.0.0.2", WHOLE))
        for number in range(3, 10):
            assert is_served(port, f"127.0.0.{number}")


def test_a_head_that_is_not_whole_in_time_is_answered_408() -> None:
    limits = ConnectionLimits(head_s=0.5)
    with guarded_server(limits) as (_, port), peer(port, "127.0.0.1", b"GET / HT") as connection:
        connection.sendall(b"TP/1.1\r\n")
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"nosniff" in answer


@pytest.mark.parametrize("first", [b"", WHOLE + b"\r\n"], ids=["nothing_sent", "line_ends_between_requests"])
def test_a_connection_on_which_no_head_comes_is_closed(first: bytes) -> None:
    with guarded_server(ConnectionLimits(head_s=0.5)) as (_, port), peer(port, "127.0.0.1", first) as connection:
        told = b"".join(iter(lambda: connection.recv(4_096), b""))
        assert told.count(b"HTTP/1.1 200 OK") == (1 if first else 0)


def test_a_head_without_end_is_answered_431() -> None:
    with guarded_server() as (_, port), peer(port, "127.0.0.1", HALF) as connection:
        for _ in range(100):
            try:
                connection.sendall(b"x" * 65_536)
            except OSError:
                break
        told = answer_of(connection)
        assert told == b"" or told.startswith(b"HTTP/1.1 431")
        assert is_cut(connection)


def test_what_is_no_http_is_a_400_that_no_browser_guesses_about() -> None:
    with guarded_server() as (_, port), peer(port, "127.0.0.1", b"\x16\x03\x01 hello\r\n\r\n") as connection:
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"nosniff" in answer


def test_an_answer_before_the_end_of_its_body_is_read_and_the_rest_ends() -> None:
    with guarded_server() as (_, port), peer(port, "127.0.0.1", POST % (b"early", 2**30)) as connection:
        assert answer_of(connection).startswith(b"HTTP/1.1 200")
        assert is_cut(connection)


async def test_a_quick_client_keeps_its_connection_and_nothing_is_left_of_it() -> None:
    with guarded_server() as (bounds, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for size in (0, 10, 300_000):
            writer.write(POST % (b"body", size) + b"x" * size)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len("127.0.0.1"))
        assert not bounds._until_s
        writer.close()
        await writer.wait_closed()
        await until(lambda: bounds._room.used == 0)
        assert not bounds._unfinished


def test_the_bounds_of_an_address_do_not_hold_for_a_trusted_proxy() -> None:
    limits = ConnectionLimits(heads_max=3)
    server = guarded_server(limits, is_proxy=lambda address: address == "127.0.0.2")
    with server as (bounds, port), ExitStack() as held:
        for _ in range(20):
            held.enter_context(peer(port, "127.0.0.2", HALF))
        assert is_served(port, "127.0.0.3")
        assert sum(map(len, bounds._unfinished.values())) >= 20


@pytest.mark.parametrize(
    ("key", "status"), [("AAAAAAAAAAAAAAAAAAAAAA==", 403), ("short", 400)], ids=["by_the_app", "by_the_handshake"]
)
def test_a_refused_websocket_says_that_its_answer_is_no_page_and_its_place_is_free(key: str, status: int) -> None:
    handshake = "GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    sent = f"{handshake}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    with guarded_server() as (bounds, port), peer(port, "127.0.0.1", sent) as connection:
        answer = answer_of(connection)
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
        assert answer.lower().count(b"x-content-type-options: nosniff") == 1
        assert bounds._room.used == 0
