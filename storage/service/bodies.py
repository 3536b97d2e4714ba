"""Reading a request's body: after its user is known, within bounds of size, of time and of all bodies together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive

from storage.service.errors import TIMEOUT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_SIMULTANEOUS_QUERIES, refused

# A body may pause this long, and must come at this pace on the whole.
PAUSE_S_MAX: Final = 15.0
BYTES_PER_S_MIN: Final = 64 * 1024
TOO_LARGE: Final = 413


class Room:
    """Bytes of all bodies under way of a user, packed and unpacked, within what several users have together, if they
    share. Safe to use from several threads."""

    def __init__(self, bytes_max: int, within: Room | None = None) -> None:
        self._bytes_max = bytes_max
        self._within = within
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share of the room, given back with the context unless it is kept (`Share.kept`)."""
        share = Share(self)
        try:
            yield share
        finally:
            if not share.kept:
                share.give_back()

    def take(self, size: int) -> None:
        """Raises ServiceError 202 (503) when there is no room."""
        with self._lock:
            if self._taken + size > self._bytes_max:
                detail = f"All bodies under way are larger than {self._bytes_max} bytes together; send it again."
                raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, detail)
            # It raises before anything is taken here.
            if self._within is not None:
                self._within.take(size)
            self._taken += size

    def give(self, size: int) -> None:
        """Give it back."""
        with self._lock:
            self._taken -= size
        if self._within is not None:
            self._within.give(size)


class Share:
    """What one request has taken of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0
        self.kept = False

    def take(self, size: int) -> None:
        """More of it; raises ServiceError 202."""
        self._room.take(size)
        self._size += size

    def give_back(self) -> None:
        """All of it; once."""
        size, self._size = self._size, 0
        self._room.give(size)


def too_large(bytes_max: int) -> Exception:
    """The error of a body that is larger than it may be."""
    return refused(TOO_MANY_BYTES, f"The body is larger than {bytes_max} bytes.", status=TOO_LARGE)


def bounded(request: Request, bytes_max: int, share: Share) -> Request:
    """The request, whose body raises ServiceError as soon as it is too large, too slow, or too much with the others."""
    named = request.headers.get("content-length", "0")
    if not named.isdecimal() or int(named) > bytes_max:
        raise too_large(bytes_max)
    return Request(request.scope, _watched(request.receive, bytes_max, share))


def _watched(receive: Receive, bytes_max: int, share: Share) -> Receive:
    began = time.monotonic()
    size = 0

    async def watched() -> Message:
        nonlocal size
        left_s = PAUSE_S_MAX + size / BYTES_PER_S_MIN - (time.monotonic() - began)
        try:
            async with asyncio.timeout(min(PAUSE_S_MAX, left_s)):
                message = await receive()
        except TimeoutError:
            detail = f"The body came too slowly: {size} bytes in {time.monotonic() - began:.0f} s."
            raise refused(TIMEOUT_EXCEEDED, detail) from None
        length = len(message.get("body", b""))
        size += length
        if size > bytes_max:
            raise too_large(bytes_max)
        share.take(length)
        return message

    return watched
