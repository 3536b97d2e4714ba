"""Bodies as a real server hands them over: slowly, a hundred at once, and cut off in the middle."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request

from api import problems
from api.auth import CallerDep
from api.body import EVENTS, BodyLimit, BodyWork, HoldsBodies, json_body, read_body
from api.wiring import Wiring
from ingest.fair_share import FairShare
from tests.support.serve import served
from tests.support.until import until

HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
# Generous, as the machine may be busy; what is too slow is far slower.
QUICK = BodyLimit(2**20, whole_s=2.0, idle_s=0.5)


class Tiny:
    """An app with one route of each kind, and what became of its requests."""

    def __init__(self, room: FairShare, limit: BodyLimit) -> None:
        self.app = FastAPI()
        self.app.state.wiring = Wiring(None, None, None, lambda: 0)  # type: ignore[arg-type]
        self.work = BodyWork(threads=1, threads_of_one=1)
        self.room = room
        self.told: list[str] = []
        self.at_work = threading.Event()
        self.steps = 0
        problems.install(self.app)
        self.app.add_middleware(HoldsBodies, room=room)
        kind = Depends(json_body(dict[str, Any], limit))

        @self.app.post("/json")
        async def _json(given: Any = kind) -> int:
            return len(given)

        @self.app.post("/work")
        async def _work(request: Request, caller: CallerDep) -> int:
            try:
                await read_body(request, caller.org_id, limit)
                return await self.work.run(request, caller.org_id, self._endless)
            except BaseException as error:
                self.told.append(type(error).__name__)
                raise

    def _endless(self, still_wanted: Any) -> int:
        self.at_work.set()
        while True:
            self.steps += 1
            still_wanted()
            threading.Event().wait(0.001)


@contextmanager
def tiny(room: int = 2**26, limit: BodyLimit = QUICK) -> Iterator[tuple[Tiny, int]]:
    made = Tiny(FairShare(room), limit)
    with served(made.app) as port:
        yield made, port
    made.work.close()


def opened(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


def status_of(connection: socket.socket) -> int:
    answer = b""
    while b"\r\n" not in answer:
        part = connection.recv(4_096)
        if not part:
            raise ConnectionError("closed without an answer")
        answer += part
    return int(answer.split()[1])


def test_a_body_that_pauses_too_long_is_answered_408() -> None:
    with tiny() as (_, port), opened(port, HEAD % (b"/json", 100) + b'{"a":') as connection:
        assert status_of(connection) == 408


def test_a_body_that_trickles_is_answered_408_when_its_time_is_up() -> None:
    limit = replace(QUICK, idle_s=60.0, whole_s=1.0)
    with tiny(limit=limit) as (_, port), opened(port, HEAD % (b"/json", 2**19)) as connection:
        connection.settimeout(0.05)
        for _ in range(1_000):
            connection.sendall(b" ")
            try:
                answer = connection.recv(4_096)
            except TimeoutError:
                continue
            assert answer.split()[1] == b"408"
            return
    pytest.fail("the trickle was never cut")


async def test_work_on_a_body_ends_when_its_sender_leaves() -> None:
    with tiny() as (made, port):
        connection = opened(port, HEAD % (b"/work", 2) + b"{}")
        await until(made.at_work.is_set)
        connection.close()
        await until(lambda: made.told)
        assert made.told == ["ClientDisconnect"]
        steps = made.steps
        await asyncio.to_thread(made.work.close)
        assert made.steps <= steps + 2
        await until(lambda: made.room.used == 0)


async def test_a_hundred_uploads_at_once_hold_no_more_than_the_room_has() -> None:
    size = 2**20
    with tiny(room=8 * size, limit=replace(EVENTS, bytes_max=size)) as (made, port):
        answers: list[int] = []

        async def upload() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD % (b"/json", size) + b" " * (size - 3))
            await writer.drain()
            # Held open until all are there.
            await everybody.wait()
            writer.write(b" {}")
            answers.append(int((await reader.readline()).split()[1]))
            writer.close()

        everybody = asyncio.Event()
        uploads = [asyncio.create_task(upload()) for _ in range(100)]
        peak = 0
        await until(lambda: made.room.used >= 3 * size, 60)
        for _ in range(50):
            peak = max(peak, made.room.used)
            await asyncio.sleep(0.005)
        everybody.set()
        await asyncio.wait_for(asyncio.gather(*uploads, return_exceptions=True), 60)
        assert peak <= made.room.total
        assert {200, 429} >= set(answers)
        assert 429 in answers
        await until(lambda: made.room.used == 0)


async def test_an_organisation_at_its_bound_of_threads_keeps_no_other_from_having_one() -> None:
    work = BodyWork(threads=2, threads_of_one=1)
    release, started = threading.Event(), threading.Event()

    def busy(_: Any) -> str:
        started.set()
        release.wait(30)
        return "flood"

    async def quiet() -> Any:
        await asyncio.Event().wait()

    request = Request({"type": "http"}, quiet)
    flood = [asyncio.create_task(work.run(request, "flood", busy)) for _ in range(20)]
    await until(started.is_set)
    assert await asyncio.wait_for(work.run(request, "other", lambda _: "other"), 30) == "other"
    release.set()
    assert await asyncio.gather(*flood) == ["flood"] * 20
    work.close()
