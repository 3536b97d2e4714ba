"""`GET /api/v1/live`: who may connect, and the WebSocket route."""

from __future__ import annotations

from typing import Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from api.auth import ApiKeys
from api.live import metrics
from api.live.hub import LiveHub
from api.live.protocol import CLOSE_UNAUTHORISED, KEY_PREFIX, PROTOCOL
from api.problems import Problem

PATH: Final = "/api/v1/live"


def live_routes(hub: LiveHub, keys: ApiKeys) -> list[WebSocketRoute]:
    """The live WebSocket; a caller sees the campaigns of its own organisation."""

    async def live(socket: WebSocket) -> None:
        try:
            caller = keys.caller(socket, _key_in_protocols(socket))
        except Problem as problem:
            metrics.REFUSED.labels(problem.code).inc()
            await _refuse(socket, problem)
            return
        await hub.serve(socket, caller.org_id)

    return [WebSocketRoute(PATH, live)]


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    """A browser is told the code of a close but not the status of a handshake, so a missing key is told after it."""
    if problem.status == 401:
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        await socket.close(CLOSE_UNAUTHORISED, problem.title)
    else:
        await socket.close()


def _key_in_protocols(socket: WebSocket) -> str | None:
    """The API key of a subprotocol `key.<API key>`, for browsers, which cannot set headers."""
    offered = (name for name in socket.scope["subprotocols"] if name.startswith(KEY_PREFIX))
    return next((name.removeprefix(KEY_PREFIX) for name in offered), None)
