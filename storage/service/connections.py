"""The service's end of a TCP connection: heads of requests are bounded in size, time and number.

A program that opens connections and sends little or nothing costs only itself: a head must be whole within HEAD_S_MAX,
and where all connections are taken the one that has kept its head open longest makes room.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A statement may stand in the URL; longer ones go into the body.
HEAD_BYTES_MAX: Final = 256 * 1024
HEAD_S_MAX: Final = 10.0
CONNECTIONS_MAX: Final = 256

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nX-ClickHouse-Exception-Code: 307\r\n"
    b"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on heads."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._waiting_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; the one that waited longest for its head goes when there are too many."""
        super().connection_made(transport)
        self._await_head()
        self._head_timer = self.loop.call_later(HEAD_S_MAX, self._too_late)
        if len(self.connections) > CONNECTIONS_MAX:
            waiting = [one for one in self.connections if isinstance(one, GuardedProtocol) and one.waits]
            oldest = min(waiting, key=lambda one: one._waiting_since_s or 0.0, default=self)
            oldest.transport.abort()

    @property
    def waits(self) -> bool:
        """No request is under way on it."""
        return self._waiting_since_s is not None

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._waiting_since_s = time.monotonic()

    def _too_late(self) -> None:
        if self.waits and not self.transport.is_closing():
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head are counted and timed; those of a body are not."""
        if self.waits:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_S_MAX, self._too_late)
        super().data_received(data)
        if self.waits and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_is_there()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The next head may come."""
        self._await_head()
        super().on_response_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_there()

    def _head_is_there(self) -> None:
        self._waiting_since_s = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The timer goes with the connection."""
        self._head_is_there()
        super().connection_lost(exc)
