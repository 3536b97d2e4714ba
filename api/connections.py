"""The api's end of TCP connections: what an address may keep open and unfinished, in number, bytes and time.

A head that is not whole, a body that is not whole, the rest of a body that was answered already: each costs a socket
and some memory and comes as slowly as its sender likes (Slowloris). Whoever is quick is never in anybody's way: an
address that has too many unfinished loses the oldest of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response as HandshakeResponse

from api import metrics
from ingest.fair_share import FairShare

_SWEEP_S: Final = 0.5
_HEADERS: Final = b"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD: Final = b"HTTP/1.1 400 Bad Request\r\n" + _HEADERS
_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\n" + _HEADERS
_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _HEADERS


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one process; the first three are an address's."""

    # Quick senders have a head on the way for a moment; behind one address may be an office or a mobile network.
    heads_max: int = 512
    # A server that sends over several hundred connections has that many bodies on the way.
    bodies_max: int = 512
    # Of all connections; an address alone gets half (`ingest.fair_share`).
    connections_max: int = 8_192
    head_bytes_max: int = 64 * 1024
    # A head is whole within this time of the connection or of its first byte.
    head_s: float = 10.0
    # A body that was answered before it was whole goes on so long and so far, for its sender to read the answer.
    rest_s: float = 2.0
    rest_bytes_max: int = 2**20


class _At(Enum):
    """What a connection waits for."""

    # Nothing: a request is being worked on, or the peer is quiet between two (uvicorn ends that).
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    REST = auto()


class Connections:
    """All connections of a process. `is_proxy` says for whom the bounds of an address do not hold."""

    def __init__(
        self, limits: ConnectionLimits = ConnectionLimits(), is_proxy: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.limits = limits
        self._is_proxy = is_proxy
        self._room = FairShare(limits.connections_max)
        # By address and what is waited for, the oldest first.
        self._unfinished: dict[tuple[str, _At], OrderedDict[GuardedProtocol, None]] = {}
        # When an unfinished head or rest is given up.
        self._until_s: dict[GuardedProtocol, float] = {}
        self._is_sweeping = False

    def enter(self, connection: GuardedProtocol) -> bool:
        """Take a connection in, unless its address has its share."""
        return self._room.take(connection.address, 1)

    def leave(self, connection: GuardedProtocol) -> None:
        """The connection is closed, or something else's."""
        self._room.give_back(connection.address, 1)

    def begin(self, connection: GuardedProtocol, at: _At) -> None:
        """The connection waits for something; the oldest of its address makes room."""
        if at is _At.HEAD or at is _At.REST:
            seconds = self.limits.head_s if at is _At.HEAD else self.limits.rest_s
            self._until_s[connection] = connection.loop.time() + seconds
            if not self._is_sweeping:
                self._is_sweeping = True
                connection.loop.call_later(_SWEEP_S, self._sweep, connection.loop)
        waiting = self._unfinished.setdefault((connection.address, at), OrderedDict())
        waiting[connection] = None
        most = self.limits.heads_max if at is _At.HEAD else self.limits.bodies_max
        if len(waiting) > most and not self._is_proxy(connection.address):
            metrics.CONNECTIONS_ENDED.labels("too_many").inc()
            next(iter(waiting)).transport.abort()
            waiting.popitem(last=False)

    def end(self, connection: GuardedProtocol, at: _At) -> None:
        """What it waited for is there, or will never be."""
        self._until_s.pop(connection, None)
        place = (connection.address, at)
        waiting = self._unfinished.get(place)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._unfinished[place]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for connection in [each for each, until_s in self._until_s.items() if until_s <= now_s]:
            self._until_s.pop(connection, None)
            metrics.CONNECTIONS_ENDED.labels("slow").inc()
            connection.give_up()
        self._is_sweeping = bool(self._until_s)
        if self._is_sweeping:
            loop.call_later(_SWEEP_S, self._sweep, loop)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within the bounds of `bounds`, which a process sets (`guarded`)."""

    bounds: Connections

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.address = ""
        self._at = _At.NOTHING
        self._noted = _At.NOTHING
        self._bytes = 0
        self._messages = 0
        self._is_in = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in; a head is awaited from now on."""
        super().connection_made(transport)
        self.address = address_of(self.client[0] if self.client is not None else "")
        self._is_in = self.bounds.enter(self)
        if not self._is_in:
            metrics.CONNECTIONS_ENDED.labels("too_many").inc()
            transport.abort()
            return
        self._at = _At.HEAD
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then see what is awaited now."""
        if self.transport.is_closing():
            return
        before, messages = self._at, self._messages
        super().data_received(data)
        if not self._is_in:
            return
        if self._at is _At.NOTHING and messages == self._messages:
            # Bytes between two requests, such as line ends, keep no connection alive.
            self._at = _At.HEAD
        self._bytes = self._bytes + len(data) if before is self._at else 0
        if self._at is _At.HEAD and self._bytes > self.bounds.limits.head_bytes_max:
            self._close_with(_LARGE)
        elif self._at is _At.REST and self._bytes > self.bounds.limits.rest_bytes_max:
            self.transport.abort()
        self._note()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._at = _At.HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._at = _At.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._messages += 1
        # Answered already: uvicorn has given up counting how long the peer is quiet.
        self._at = _At.HEAD if self._at is _At.REST else _At.NOTHING
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out; of what it did not wait for, a little more is taken."""
        super().on_response_complete()
        if self._at is _At.BODY and not self.pipeline:
            self._at, self._bytes = _At.REST, 0
            self._note()

    def handle_websocket_upgrade(self) -> None:
        """What becomes a WebSocket is bounded by who serves those."""
        self._leave()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an answer that is no page."""
        self._close_with(_BAD)

    def give_up(self) -> None:
        """What is awaited took too long."""
        if self._at is _At.HEAD and self._bytes:
            self._close_with(_SLOW)
        else:
            self.transport.close()

    def _close_with(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _note(self) -> None:
        """Tell the bounds what is awaited now, if that changed; of requests that come whole they are never told."""
        if self._at is not self._noted:
            self.bounds.end(self, self._noted)
            self._noted = self._at
            if self._at is not _At.NOTHING and not self.transport.is_closing():
                self.bounds.begin(self, self._at)

    def _leave(self) -> None:
        if self._is_in:
            self._is_in = False
            self.bounds.end(self, self._noted)
            self._noted = self._at = _At.NOTHING
            self.bounds.leave(self)


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, whose refusals say that they are no pages."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        send_response = self.conn.send_response

        def send_safely(response: HandshakeResponse) -> None:
            if "X-Content-Type-Options" not in response.headers:
                response.headers["X-Content-Type-Options"] = "nosniff"
            send_response(response)

        self.conn.send_response = send_safely  # type: ignore[method-assign]


def guarded(connections: Connections) -> type[GuardedProtocol]:
    """uvicorn's `http` for a process with these bounds."""
    return type("GuardedProtocol", (GuardedProtocol,), {"bounds": connections})


def address_of(peer: str) -> str:
    """Whom connections of a peer count for: its address, or the /64 network that one IPv6 host has to itself.

    >>> address_of("192.0.2.7"), address_of("2001:db8:1:2:3::7")
    ('192.0.2.7', '2001:db8:1:2::')
    """
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)


def is_among(addresses: Sequence[str]) -> Callable[[str], bool]:
    """Says whether an address is one of those named, which may be networks; raises ValueError.

    >>> is_proxy = is_among(["10.0.0.0/8", "192.0.2.7"])
    >>> is_proxy("10.1.2.3"), is_proxy("192.0.2.8")
    (True, False)
    """
    networks = [ipaddress.ip_network(named, strict=False) for named in addresses]

    def among(address: str) -> bool:
        try:
            given = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(given in network for network in networks)

    return among
