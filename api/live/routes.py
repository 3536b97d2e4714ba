"""`GET /api/v1/live`: who may connect, and the WebSocket route."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from api.live import metrics
from api.live.hub import LiveHub
from api.live.protocol import CLOSE_UNAUTHORISED, KEY_PREFIX, PROTOCOL
from schemas.events import DEFAULT_ORG

PATH: Final = "/api/v1/live"


def live_routes(hub: LiveHub, keys: Mapping[str, str]) -> list[WebSocketRoute]:
    """The live WebSocket. `keys`: API key -> organisation; empty: no key is asked for, organisation `default`."""

    async def live(socket: WebSocket) -> None:
        if not _is_same_site(socket):
            metrics.REFUSED.labels("origin").inc()
            await socket.close()
            return
        org_id = organisation_of(_key_of(socket), keys)
        if org_id is None:
            metrics.REFUSED.labels("key").inc()
            # Accepted first: a browser is told the code of a close, but not the status of a refused handshake.
            await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
            await socket.close(CLOSE_UNAUTHORISED, "an API key is needed")
            return
        await hub.serve(socket, org_id)

    return [WebSocketRoute(PATH, live)]


def organisation_of(key: str, keys: Mapping[str, str]) -> str | None:
    """The organisation of an API key; None when it is not one of the keys.

    >>> organisation_of("k1", {"k1": "acme"}), organisation_of("", {}), organisation_of("", {"k1": "acme"})
    ('acme', 'default', None)
    """
    if not keys:
        return DEFAULT_ORG
    found = None
    for known, org_id in keys.items():
        if hmac.compare_digest(known.encode(), key.encode()):
            found = org_id
    return found


def _key_of(socket: WebSocket) -> str:
    """From `Authorization: Bearer`, `X-API-Key`, or a subprotocol `key.<API key>` where headers cannot be set."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if header := socket.headers.get("x-api-key"):
        return header
    offered = (name for name in socket.scope["subprotocols"] if name.startswith(KEY_PREFIX))
    return next(offered, "").removeprefix(KEY_PREFIX)


def _is_same_site(socket: WebSocket) -> bool:
    """A page of another site must not read along: browsers send no CORS preflight for a WebSocket."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")
