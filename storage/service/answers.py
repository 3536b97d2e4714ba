"""Sending an answer: from its outlet to the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from storage.service.outlet import Outlet

# A client that takes no byte for this long is not there.
SEND_S_MAX: Final = 30.0


class AnswerResponse(Response):
    """Streams an answer, whatever becomes of the client.

    An error in the middle breaks the connection off: the client sees an incomplete answer and never a short one.
    """

    def __init__(self, outlet: Outlet, headers: Mapping[str, str], left: Callable[[], None]) -> None:
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._outlet = outlet
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        gone = asyncio.ensure_future(disconnected(receive))
        gone.add_done_callback(lambda _: self._outlet.leave())
        sent = False
        try:
            async with asyncio.timeout(SEND_S_MAX) as patience:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while not gone.done():
                    patience.reschedule(None)
                    piece = await self._outlet.take()
                    patience.reschedule(asyncio.get_running_loop().time() + SEND_S_MAX)
                    if piece is None:
                        sent = True
                        break
                    await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
            if sent:
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._outlet.leave()
            if not sent:
                self._left()


async def disconnected(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
