"""What no route takes: 404 for an address that is none, 405 with Allow for one that takes other methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from api.problems import Problem, answer

_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Of an address that somebody mistyped, in the answer.
_SHOWN_MAX: Final = 200


class Fallback:
    """The last route's app, over the routes before it."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(self._problem(scope))(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem:
        path = str(scope["path"])[:_SHOWN_MAX]
        takes = [method for method in _METHODS if self._match({**scope, "method": method})]
        if takes:
            allowed = ", ".join(takes)
            detail = f"{path} takes {allowed}."
            return Problem(405, "wrong_method", "Wrong method", detail, headers={"Allow": allowed})
        if self._match({**scope, "type": "websocket"}):
            detail = f"{path} is a WebSocket."
            return Problem(426, "not_a_websocket", "A WebSocket", detail, headers={"Upgrade": "websocket"})
        return Problem(404, "unknown_path", "No such address", f"There is nothing at {path}.")

    def _match(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)


def fallback_route(routes: Sequence[BaseRoute]) -> Route:
    """Put it last: it takes every path with every method."""
    return Route("/{path:path}", Fallback(tuple(routes)), include_in_schema=False)
