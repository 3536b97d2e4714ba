"""The service's own question to the engine, by the way that clients take: what it answers is its progress."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.applications import Starlette

from schemas.health import Loop

EVERY_S: Final = 2.0
# A statement behind others waits its turn; what the engine does not answer by then is asked anew.
ANSWER_S: Final = 120.0


async def ask(app: Starlette, password: str) -> int:
    """The status that `SELECT 1` of user `default` is answered with, without a socket."""
    credentials = base64.b64encode(f"default:{password}".encode()).decode()
    headers = {"host": "127.0.0.1", "authorization": f"Basic {credentials}", "content-length": "8"}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
    }  # fmt: skip
    requests = [{"type": "http.request", "body": b"SELECT 1", "more_body": False}]
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


async def keep_asking(app: Starlette, password: str, health: Loop) -> None:
    """Ask every EVERY_S, for ever; a question without an answer does not turn the loop."""
    waiting = 0
    health.pending = lambda: waiting
    while True:
        waiting = 1
        try:
            async with asyncio.timeout(ANSWER_S):
                status = await ask(app, password)
        except TimeoutError:
            continue
        waiting = 0
        if status == 200:
            health.goes_on()
            health.did()
        else:
            health.turn()
            busy = "a free place among its statements" if status == 503 else f"an answer to SELECT 1: status {status}"
            health.waits_for(busy)
        await asyncio.sleep(EVERY_S)
