"""An api on a log in memory and a fresh control database, with a clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.wiring import Wiring
from control.store import ControlStore
from ingest.group_commit import GroupCommit
from schemas.log import Log
from tests.support.memory_log import MemoryLog

# 2026-01-01 00:00 UTC.
NOW_MS = 1_767_225_600_000


@dataclass
class Api:
    """A running api and what it stands on."""

    client: TestClient
    log: MemoryLog
    store: ControlStore
    clock: list[int] = field(default_factory=lambda: [NOW_MS])

    def post(self, content: bytes | str, **headers: str) -> httpx.Response:
        """Send events; header names with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/api/v1/events", content=content, headers=named)

    def events(self, partition: int = 0) -> list[bytes]:
        return self.log.records("events", partition)


class Apis:
    """Starts apis of different wiring for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: list[Any] = []

    def start(self, log: Log | None = None, *, sink: Any = None, partitions: int = 1, **parts: Any) -> Api:
        memory = log if log is not None else MemoryLog(partitions)
        store = ControlStore.open("", self._folder)
        committed = sink if sink is not None else GroupCommit(memory)
        clock = [NOW_MS]
        wiring = Wiring(log=memory, sink=committed, store=store, now_ms=lambda: clock[0], **parts)
        client = TestClient(create_app(wiring), base_url="http://127.0.0.1", raise_server_exceptions=False)
        client.__enter__()
        self._ends += [
            store.close,
            getattr(committed, "close", lambda: None),
            lambda: client.__exit__(None, None, None),
        ]
        return Api(client, memory, store, clock)  # type: ignore[arg-type]

    def end(self) -> None:
        while self._ends:
            self._ends.pop()()


@pytest.fixture
def apis(tmp_path: Path) -> Iterator[Apis]:
    """Starts apis and ends them with the test."""
    started = Apis(tmp_path)
    yield started
    started.end()


@pytest.fixture
def api(apis: Apis) -> Api:
    """An api without keys, with one partition of events."""
    return apis.start()


class RefusingSink:
    """A sink that raises the same for every append."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def append(self, topic: str, partition: int, records: Sequence[bytes], *, owner: str = "") -> int:
        raise self._error
