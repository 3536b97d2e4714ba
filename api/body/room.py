"""Memory for bodies under way: bounded over all requests and, within that, for every organisation."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api import metrics
from api.problems import RETRY_AFTER_S, Problem
from ingest.fair_share import FairShare

# Of bodies being received or worked on. An organisation alone gets half of it: eight of the largest requests.
ROOM_BYTES_MAX: Final = 128 * 2**20
_HELD: Final = "penstock.held"


class Held:
    """What one request holds of the room, until it ends."""

    def __init__(self, room: FairShare) -> None:
        self._room = room
        self._owner = ""
        self._bytes = 0

    def take(self, org_id: str, size: int) -> None:
        """Hold so many bytes more; raises Problem 429 when the organisation's own fill its share, else 503."""
        if not self._room.take(org_id, size):
            raise _crowded(org_id, crowds=self._room.crowds(org_id))
        self._owner = org_id
        self._bytes += size
        metrics.BODY_BYTES.set(self._room.used)

    def release(self) -> None:
        """Give all of it back."""
        if self._bytes:
            self._room.give_back(self._owner, self._bytes)
            self._bytes = 0
            metrics.BODY_BYTES.set(self._room.used)


class HoldsBodies:
    """ASGI: gives every request its hold, and takes it back when the request has ended, however it ended."""

    def __init__(self, app: ASGIApp, room: FairShare) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = scope[_HELD] = Held(self._room)
        try:
            await self._app(scope, receive, send)
        finally:
            held.release()


def held_by(scope: Scope) -> Held:
    """The hold of a request."""
    held: Held = scope[_HELD]
    return held


def _crowded(org_id: str, *, crowds: bool) -> Problem:
    metrics.ORGANISATION_REFUSED.labels(org_id, "bodies").inc()
    if crowds:
        detail = (
            f"Requests of {org_id} that are under way hold as much memory as one organisation may; send fewer at once."
        )
        return Problem(429, "too_many_bodies", "Too much at once", detail, retry_after_s=RETRY_AFTER_S)
    detail = "Requests under way hold all memory there is for them; send again in a moment."
    return Problem(503, "busy", "Too much at once", detail, retry_after_s=RETRY_AFTER_S)
