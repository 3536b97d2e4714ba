"""An answer's way out: from the thread that makes it to the socket that takes it, a few MiB at a time.

The thread that makes an answer keeps its statement until the last byte is taken over, or until the client has left or
is too slow. It waits for nothing but its own client, and for that only so long; nobody waits for a thread here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# What may wait for the socket after its thread has gone on to the next statement.
WAITING_BYTES_MAX: Final = 4 * 2**20
PIECE_BYTES: Final = 256 * 1024
# A client may let its thread wait this long in all, and longer as it takes bytes; less when others want the thread.
STALL_S_MAX: Final = 30.0
STALL_S_MAX_WHEN_WANTED: Final = 5.0
BYTES_PER_S_MIN: Final = 256 * 1024
BYTES_PER_S_MIN_WHEN_WANTED: Final = 4 * 2**20
_LOOK_S: Final = 0.25


class ClientGone(Exception):  # noqa: N818
    """The client has left, or takes nothing; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known when an answer begins: its summary, its format, and whether it has rows."""

    summary: dict[str, int]
    output_format: str
    has_result: bool


def allowed_stall_s(taken_bytes: int, *, wanted: bool) -> float:
    """How long a client may have kept its thread waiting once it has taken so many bytes.

    >>> allowed_stall_s(0, wanted=False), allowed_stall_s(0, wanted=True), allowed_stall_s(2**20, wanted=False)
    (30.0, 5.0, 34.0)
    """
    if wanted:
        return STALL_S_MAX_WHEN_WANTED + taken_bytes / BYTES_PER_S_MIN_WHEN_WANTED
    return STALL_S_MAX + taken_bytes / BYTES_PER_S_MIN


class Outlet:
    """Filled by one thread, emptied by the event loop that made it."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        """`wanted`: whether other statements wait for the thread."""
        self._loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Opening] = self._loop.create_future()
        self._wanted = wanted
        self._changed = threading.Condition()
        self._ready = asyncio.Event()
        self._pieces: deque[memoryview | bytes] = deque()
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._stalled_s = 0.0
        self._ended = False
        self._error: Exception | None = None
        self.left = False

    # By the thread.

    def open(self, opening: Opening) -> None:
        """The statement runs well so far; the answer begins."""

        def told() -> None:
            if not self.opened.done():
                self.opened.set_result(opening)

        self._tell(told)

    def put(self, block: bytes) -> None:
        """Hand a block over; waits while the client is behind. Raises ClientGone."""
        view = memoryview(block)
        for start in range(0, len(block), PIECE_BYTES):
            piece = view[start : start + PIECE_BYTES]
            with self._changed:
                self._wait_for_room()
                self._pieces.append(piece)
                self._waiting_bytes += len(piece)
            self._tell(self._ready.set)

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows. An error before `open` is the answer; after it, it breaks the answer off."""
        with self._changed:
            self._ended, self._error = True, error

        def told() -> None:
            if error is not None and not self.opened.done() and not self.left:
                self.opened.set_exception(error)
            self._ready.set()

        self._tell(told)

    def _wait_for_room(self) -> None:
        while not self.left and self._waiting_bytes >= WAITING_BYTES_MAX:
            if self._stalled_s > allowed_stall_s(self._taken_bytes, wanted=self._wanted()):
                raise ClientGone("the client takes its answer too slowly")
            began = time.monotonic()
            self._changed.wait(_LOOK_S)
            self._stalled_s += time.monotonic() - began
        if self.left:
            raise ClientGone("the client has left")

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            raise ClientGone("the service ends") from None

    # By the event loop.

    async def take(self) -> memoryview | bytes | None:
        """The next piece; None at the end. Raises what the thread ended with."""
        while True:
            with self._changed:
                if self._pieces:
                    piece = self._pieces.popleft()
                    self._waiting_bytes -= len(piece)
                    self._taken_bytes += len(piece)
                    self._changed.notify()
                    return piece
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return None
                self._ready.clear()
            await self._ready.wait()

    def leave(self) -> None:
        """The client is gone: the thread is let go at its next block."""
        with self._changed:
            self.left = True
            self._pieces.clear()
            self._changed.notify()
