"""Who may speak to the service at all: programs on this machine, and no page in a browser."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.service.errors import ACCESS_DENIED, refused

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# What a browser says of a request that another page made. `none` is an address typed by hand.
_OTHER_PAGES: Final = frozenset({"cross-site", "same-site"})
# No answer is a page or a script, whatever its bytes look like, and none is for another origin.
_ON_EVERY_ANSWER: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def foreign(headers: Headers) -> bool:
    """Whether a page of another origin sent the request, or it came by a name that is not this machine's.

    >>> foreign(Headers({"host": "127.0.0.1:8123"})), foreign(Headers({"host": "evil.example"}))
    (False, True)
    >>> foreign(Headers({"host": "localhost:8123", "sec-fetch-site": "cross-site"}))
    True
    """
    for host in headers.getlist("host"):
        try:
            named = urlsplit(f"//{host}").hostname
        except ValueError:
            return True
        if named not in _LOOPBACK:
            return True
    if any(site.strip().lower() in _OTHER_PAGES for site in headers.getlist("sec-fetch-site")):
        return True
    own = f"http://{headers.get('host', '')}".lower()
    return any(origin.strip().lower() != own for origin in headers.getlist("origin"))


class Door:
    """The application behind its door."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it unread."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ON_EVERY_ANSWER]
            await send(message)

        if foreign(Headers(scope=scope)):
            error = refused(ACCESS_DENIED, "Only programs on this machine may use this service.")
            answer = PlainTextResponse(
                f"{error}\n",
                status_code=error.status,
                headers={"X-ClickHouse-Exception-Code": str(error.code), "Connection": "close"},
            )
            await answer(scope, receive, marked)
            return
        await self._app(scope, receive, marked)
