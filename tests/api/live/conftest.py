"""A hub behind a real server, and a WebSocket client that remembers the last state it was told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from api.auth import ApiKeys
from api.live import LiveHub, live_routes
from tests.support.memory_log import MemoryLog
from tests.support.serve import served


@dataclass
class Viewer:
    """A browser without a page: the last row of each campaign, the decisions, and every frame's type and time."""

    socket: ClientConnection
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    frames: list[tuple[str, float]] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    seq: int = 0

    async def take(self) -> dict[str, Any]:
        """The next frame, folded into what is known."""
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        self.frames.append((frame["type"], time.monotonic()))
        self.last[frame["type"]] = frame
        if frame["type"] == "snapshot" and frame["part"] == 0 and not frame["resumed"]:
            self.rows, self.decisions = {}, []
        self.config = frame.get("config", self.config)
        self.rows |= {row["id"]: row for row in frame.get("rows", [])}
        if frame["type"] in ("snapshot", "delta"):
            self.decisions += frame.get("decisions", [])
        self.seq = frame["seq"]
        return frame

    async def until(self, condition: Callable[[], object], deadline_s: float = 20.0) -> None:
        """Take frames until the condition is true; TimeoutError at the deadline."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                await self.take()

    async def say(self, **message: Any) -> None:
        """Send one message."""
        await self.socket.send(json.dumps(message))


@dataclass(frozen=True)
class Site:
    """A served hub."""

    log: MemoryLog
    hub: LiveHub
    port: int

    @asynccontextmanager
    async def viewer(self, query: str = "", key: str = "", **options: Any) -> AsyncIterator[Viewer]:
        """A connected viewer."""
        protocols: list[Any] = ["penstock.live.1", *([f"key.{key}"] if key else [])]
        url = f"ws://127.0.0.1:{self.port}/api/v1/live{query}"
        async with connect(url, subprotocols=protocols, max_size=None, **options) as socket:
            yield Viewer(socket)


@contextmanager
def site_of(log: MemoryLog, keys: str = "", **options: Any) -> Iterator[Site]:
    """A hub on this log, served."""
    hub = LiveHub(log, version="9.9.9", **options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with hub.following():
            yield

    app = Starlette(routes=live_routes(hub, ApiKeys.parse(keys)), lifespan=lifespan)
    with served(app) as port:
        yield Site(log, hub, port)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def site(log: MemoryLog) -> Iterator[Site]:
    with site_of(log) as served_site:
        yield served_site
