"""What `penstock actuate` lives through: retention past its place, records it cannot read, slow platforms, kills."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import pytest

from platforms.host import GROUP, Actuator
from platforms.outbox import Outbox
from platforms.registry import ADAPTERS
from platforms.sender import Sender
from schemas import topics
from schemas.campaigns import PlatformLink
from schemas.decisions import Decision, Kind, OtherDecision, encode_decision
from tests.platforms.test_actuator import KEYS, log_with, pause, receipts
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog

SECRET = "not-to-be-seen"
TIKTOK = PlatformLink(platform="tiktok", account_id="70", campaign_ref="13", ad_group_ref="14")


def word(number: int, kind: Kind = Kind.PAUSE, **after: Any) -> Decision:
    fields = msgspec.to_builtins(pause()) | {"undo": None, "before": {}}
    return decision_of(**fields | {"decision_id": f"d{number}", "kind": kind.value, "after": after, "ts_ms": number})


def unchecked(kind: str, **after: Any) -> Decision:
    """A record of another writer, which need not be of its kind."""
    return OtherDecision(**msgspec.to_builtins(pause()) | {"decision_id": "d1", "kind": str(kind), "after": after})


class World:
    """A TikTok that may be slow: it notes when each request came and went, and what it was told."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.spans: list[tuple[float, float]] = []
        self.state: list[str] = []
        self.lock = threading.Lock()

    def take(self, body: dict[str, Any]) -> None:
        began = time.monotonic()
        with self.lock:
            delay = self.delays.pop(0) if self.delays else 0.0
        time.sleep(delay)
        with self.lock:
            self.state.append(str(body.get("operation_status") or body.get("bid_price") or body.get("budget")))
            self.spans.append((began, time.monotonic()))

    def overlaps(self) -> int:
        ordered = sorted(self.spans)
        return sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(ordered))


@pytest.fixture
def world() -> Iterator[tuple[str, World]]:
    there = World()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            there.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            encoded = b'{"code": 0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(encoded)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", there
    server.shutdown()
    thread.join()


class Running:
    """An actuator over a log, its clock so many times as fast as real time; leaves when told."""

    def __init__(self, log: MemoryLog, url: str, *, speed: int = 100, timeout_s: float = 20.0) -> None:
        self.log, self.url, self.speed, self.timeout_s = log, url, speed, timeout_s
        self.stop = asyncio.Event()

    async def __aenter__(self) -> Running:
        credentials = {"tiktok": {**{key: f"{SECRET}-{key}" for key in KEYS}, "base_url": self.url}}
        loop = asyncio.get_running_loop()
        self.client = httpx.AsyncClient()

        def now_ms() -> int:
            return round(loop.time() * 1_000 * self.speed)

        sender = Sender(credentials, clock_ms=now_ms, client=self.client, timeout_s=self.timeout_s)
        self.actuator = Actuator(self.log, Outbox(ADAPTERS, frozenset(credentials)), sender, now_ms)
        self.task = asyncio.create_task(self.actuator.run(self.stop))
        return self

    async def until(self, state: str, count: int) -> None:
        await self.condition(lambda: sum(receipt.state == state for receipt in receipts(self.log)) >= count)

    async def condition(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline, receipts(self.log)
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.task
        await self.client.aclose()


async def test_retention_past_its_place_is_told_and_it_goes_on_at_the_log_s_begin(
    world: tuple[str, World], caplog: pytest.LogCaptureFixture
) -> None:
    url, there = world
    log = log_with([TIKTOK], word(1), word(2, Kind.RESUME), word(3))
    records = log.records(topics.DECISIONS)
    log.commit(GROUP, topics.DECISIONS, 0, 0)
    log.drop_before(topics.DECISIONS, 0, sum(len(record) + 1 for record in records[:2]))
    with caplog.at_level(logging.WARNING):
        async with Running(log, url) as running:
            await running.until("applied", 1)
    assert there.state == ["DISABLE"]
    assert "removed by retention" in caplog.text


@pytest.mark.parametrize("topic", [topics.DECISIONS, topics.RECEIPTS, topics.CONTROL])
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"{", id="cut JSON"),
        pytest.param(b'{"a": 1}', id="foreign record"),
        pytest.param(b"\x00\x00\x00", id="zero page"),
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"[" * 5_000, id="nested deep"),
    ],
)
async def test_a_record_it_cannot_read_is_left_out_with_its_place(
    world: tuple[str, World], caplog: pytest.LogCaptureFixture, topic: str, record: bytes
) -> None:
    url, there = world
    log = log_with([TIKTOK])
    log.append(topic, 0, [record])
    log.append(topics.DECISIONS, 0, [encode_decision(word(1))])
    with caplog.at_level(logging.WARNING):
        async with Running(log, url) as running:
            await running.condition(lambda: bool(there.state))
    assert there.state == ["DISABLE"]
    assert f"{topic}/0" in caplog.text


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(unchecked(Kind.SET_BID), id="a bid without its number"),
        pytest.param(unchecked(Kind.SET_BID, bid_micros="much"), id="a bid that is text"),
        pytest.param(unchecked(Kind.SET_BID, bid_micros=-5), id="a bid below nothing"),
        pytest.param(unchecked(Kind.SET_BID_MODIFIERS, modifiers=[1]), id="modifiers that are a list"),
        pytest.param(unchecked(Kind.SET_BUDGET, daily_budget_micros={"a": 1}), id="a budget that is an object"),
        pytest.param(unchecked("conquer"), id="an unknown kind"),
    ],
)
async def test_a_decision_that_says_nothing_sensible_is_left_out(world: tuple[str, World], broken: Decision) -> None:
    url, there = world
    log = log_with([TIKTOK], broken, word(2))
    async with Running(log, url) as running:
        await running.condition(lambda: bool(there.state))
    assert there.state == ["DISABLE"]


async def test_a_successor_waits_for_the_end_of_what_it_supersedes(world: tuple[str, World]) -> None:
    url, there = world
    there.delays = [0.5]
    log = log_with([TIKTOK], word(1, Kind.RESUME))
    async with Running(log, url) as running:
        await running.condition(lambda: not there.delays)
        log.append(topics.DECISIONS, 0, [encode_decision(word(2))])
        await running.until("applied", 2)
    assert there.state == ["ENABLE", "DISABLE"]
    assert there.overlaps() == 0


async def test_fields_of_one_object_are_not_sent_side_by_side(world: tuple[str, World]) -> None:
    url, there = world
    there.delays = [0.3, 0.3, 0.3]
    log = log_with([TIKTOK], word(1, Kind.RESUME), word(2, Kind.SET_BID, bid_micros=2_000_000))
    async with Running(log, url) as running:
        await running.condition(lambda: len(there.delays) == 2)
        log.append(topics.DECISIONS, 0, [encode_decision(word(3, Kind.SET_BUDGET, daily_budget_micros=90_000_000))])
        log.append(topics.DECISIONS, 0, [encode_decision(word(4))])
        await running.until("applied", 4)
    assert there.overlaps() == 0


async def test_its_log_names_decisions_and_shows_no_credential(
    world: tuple[str, World], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = world
    with caplog.at_level(logging.INFO, logger="platforms"):
        async with Running(log_with([TIKTOK], word(1)), url) as running:
            await running.until("applied", 1)
    told = [
        (r.__dict__.get("decision_id"), r.__dict__.get("state")) for r in caplog.records if r.name == "platforms.host"
    ]
    assert told == [("d1", "sending"), ("d1", "applied")]
    assert SECRET not in caplog.text + repr([record.__dict__ for record in caplog.records])


async def test_an_answer_that_drips_is_given_up_and_the_newest_word_goes_out(world: tuple[str, World]) -> None:
    url, there = world
    # Given up after 0.5 s, carried out after 2 s; the minute after which the pause is said again takes 4 s here.
    there.delays = [2.0]
    log = log_with([TIKTOK], word(1, Kind.RESUME))
    async with Running(log, url, speed=15, timeout_s=0.5) as running:
        await running.condition(lambda: not there.delays)
        log.append(topics.DECISIONS, 0, [encode_decision(word(2))])
        await running.condition(lambda: there.state[-2:] == ["ENABLE", "DISABLE"])
    assert there.state[0] == "DISABLE"
    [superseded] = [receipt for receipt in receipts(log) if receipt.state == "superseded"]
    assert (superseded.decision_id, superseded.unknown) == ("d1", True)


async def test_what_the_log_can_no_longer_tell_is_named(
    world: tuple[str, World], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = world
    log = log_with([TIKTOK], word(1))
    log.commit(GROUP, topics.DECISIONS, 0, 0)
    log.drop_before(topics.DECISIONS, 0, log.end(topics.DECISIONS, 0))
    with caplog.at_level(logging.WARNING):
        async with Running(log, url) as running:
            await running.condition(lambda: "no decision left in the log" in caplog.text)
    assert "default/c" in caplog.text
