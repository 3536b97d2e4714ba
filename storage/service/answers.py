"""Sending an answer: from the engine's thread to the socket, one block at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from storage.service import compression, errors
from storage.service.engine import Answer, Connections
from storage.service.errors import refused

# A client that takes no byte for this long gives its connection to the engine up.
SEND_S_MAX: Final = 30.0


class Lane:
    """A user's own connections and threads, so that one user's long statements never keep another waiting."""

    def __init__(self, connections: Connections, threads: int, waiting_max: int) -> None:
        self.connections = connections
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="chdb")
        self._under_way = 0
        self._under_way_max = threads + waiting_max

    @contextmanager
    def place(self) -> Iterator[ExitStack]:
        """A place among the statements under way; raises ServiceError 202 when all are taken.

        It is given up with the context, unless its stack is moved elsewhere (`pop_all`).
        """
        if self._under_way >= self._under_way_max:
            detail = f"Too many simultaneous queries. Maximum: {self._under_way_max}."
            raise refused(errors.TOO_MANY_SIMULTANEOUS_QUERIES, detail)
        self._under_way += 1
        with ExitStack() as stack:
            stack.callback(self._leave)
            yield stack

    def _leave(self) -> None:
        self._under_way -= 1


def _blocks(answer: Answer, encoding: str | None) -> Iterator[bytes]:
    def plain() -> Iterator[bytes]:
        while answer.head:
            yield answer.head.pop(0)
        yield from answer.rest

    return plain() if encoding is None else compression.compressed(plain(), encoding)


class AnswerResponse(Response):
    """Streams an answer and closes it, whatever becomes of the client.

    An error in the middle breaks the connection off: the client sees an incomplete answer and never a short one.
    """

    def __init__(
        self, lane: Lane, answer: Answer, headers: Mapping[str, str], encoding: str | None, leave: Callable[[], None]
    ) -> None:
        super().__init__(headers=dict(headers) | ({"Content-Encoding": encoding} if encoding else {}))
        del self.headers["content-length"]
        self._lane = lane
        self._answer = answer
        self._encoding = encoding
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            blocks = _blocks(self._answer, self._encoding)
            while not gone.done():
                block = await loop.run_in_executor(self._lane.executor, next, blocks, None)
                if block is None:
                    break
                async with asyncio.timeout(SEND_S_MAX):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._leave()
            await asyncio.shield(loop.run_in_executor(self._lane.executor, self._answer.close))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
