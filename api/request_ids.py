"""Every request has an id: the sender's X-Request-Id or one made up; it is in the answer and in every log entry."""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.tracing import span

HEADER: Final = b"x-request-id"
_VALID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_current: Final[ContextVar[str]] = ContextVar("request_id", default="")
# Senders of events send thousands a second: their answers are counted, not logged one by one.
_COUNTED: Final = (
    "/api/v1/events",
    "/api/v1/pixel.gif",
    "/api/v1/click",
    "/v1/",
    "/beacon/",
    "/mp/",
    "/openrtb2/",
    "/com.snowplow",
)

_log = logging.getLogger(__name__)


def request_id() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


def id_of(given: bytes | str) -> str:
    """The sender's id when it is one, else a new one.

    >>> id_of(b"order-17"), len(id_of(b"<script>"))
    ('order-17', 16)
    """
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    return text if _VALID.fullmatch(text) else secrets.token_hex(8)


class RequestIds:
    """Middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        own = id_of(next((value for name, value in scope["headers"] if name == HEADER), b""))
        _current.set(own)
        began_s = time.perf_counter()
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, own.encode())]
            await send(message)

        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"").decode("latin-1")
        about = {"http.request.method": scope.get("method", "GET"), "url.path": scope["path"], "request_id": own}
        try:
            with span(f"{scope['type']} {scope.get('method', '')}".strip(), traceparent=given, **about):
                await self._app(scope, receive, told)
        finally:
            if scope["type"] == "http":
                _tell(scope, status, 1_000 * (time.perf_counter() - began_s))


def _tell(scope: Scope, status: int, took_ms: float) -> None:
    method, path = scope["method"], scope["path"]
    if status >= 500 or status == 0:
        level = logging.WARNING
    elif method in ("GET", "HEAD", "OPTIONS") or path.startswith(_COUNTED):
        level = logging.DEBUG
    else:
        level = logging.INFO
    if _log.isEnabledFor(level):
        _log.log(level, "%s %s", method, path[:200], extra={"status": status, "took_ms": round(took_ms, 1)})
