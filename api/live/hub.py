"""The live hub: follows the log and tells every connected browser what changed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from starlette.websockets import WebSocket

from api.live import metrics
from api.live.board import Board
from api.live.client import LiveClient, Pace
from api.live.protocol import (
    CLIENTS_MAX,
    CLOSE_TOO_MANY,
    HEARTBEAT_S,
    PROTOCOL,
    SUBSCRIPTION_MAX,
    WRITE_TIMEOUT_S,
    configuration,
)
from api.metrics import ORGANISATION_REFUSED
from api.tail import follow
from ingest.fair_share import FairShare
from schemas import topics
from schemas.campaigns import Campaign
from schemas.decisions import decode_decision
from schemas.health import Progress
from schemas.live import (
    FlowStatus,
    LiveFrame,
    LiveRecord,
    ProcessStatus,
    StoreStatus,
    Verification,
    decode_live,
)
from schemas.log import Chunk, Log, LogUnavailableError
from schemas.unreadable import UNREADABLE

# A browser that connects while the hub reads the log waits so long for it, then gets what is there.
READY_WAIT_S: Final = 5.0


class LiveHub:
    """Holds the board of last states and the connected clients; everything runs on one event loop."""

    def __init__(
        self,
        log: Log,
        *,
        version: str = "",
        heartbeat_s: float = HEARTBEAT_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        clients_max: int = CLIENTS_MAX,
        heard: Callable[[ProcessStatus], None] = lambda _: None,
        progress: Progress | None = None,
    ) -> None:
        self._log: Final = log
        # Where reports of processes go.
        self._heard = heard
        self._progress: Final = progress if progress is not None else Progress()
        self._version: Final = version
        self._pace: Final = Pace(heartbeat_s, write_timeout_s)
        self._room: Final = FairShare(clients_max)
        self._clients: set[LiveClient] = set()
        self._behind: set[str] = set()
        self._ends: dict[str, int] = {}
        self.board: Final = Board()
        # A number of this session's board means nothing on another.
        self.session: Final = secrets.token_hex(8)
        self.ready: Final = asyncio.Event()

    @property
    def clients(self) -> int:
        """How many browsers are connected."""
        return len(self._clients)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[LiveHub]:
        """Reads topics `live` and `decisions` from their begin, then follows them, while the context lasts."""
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(self._follow(topics.LIVE, self._take_live, stop)),
            asyncio.create_task(self._follow(topics.DECISIONS, self._take_decisions, stop)),
        ]
        try:
            yield self
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def _follow(self, topic: str, take: Any, stop: asyncio.Event) -> None:
        self._behind.add(topic)
        begin, end = 0, 0
        # An unreachable log is `follow`'s to wait for; nobody waits for a snapshot because of it.
        with suppress(LogUnavailableError):
            begin, end = await asyncio.to_thread(lambda: (self._log.begin(topic, 0), self._log.end(topic, 0)))
        self._caught_up(topic, begin >= end)

        def handle(chunk: Chunk) -> None:
            take(chunk)
            self._caught_up(topic, chunk.next_offset >= end)
            self._wake_clients()

        await follow(self._log, topic, 0, begin, handle, stop, self._progress.loop(f"live {topic}"))

    def _caught_up(self, topic: str, is_there: bool) -> None:
        if is_there:
            self._behind.discard(topic)
        if not self._behind and not self.ready.is_set():
            self.ready.set()

    def _wake_clients(self) -> None:
        for client in self._clients:
            client.wake()

    def define(self, campaign: Campaign) -> None:
        """Take in a campaign's newest definition."""
        self.board.put_definition(campaign)
        self._wake_clients()

    def _take_live(self, chunk: Chunk) -> None:
        for record in chunk.records():
            try:
                self._put_live(decode_live(record))
            except UNREADABLE:
                metrics.BAD_RECORDS.labels(topics.LIVE).inc()
        metrics.CAMPAIGNS.set(self.board.campaigns)

    def _put_live(self, record: LiveRecord) -> None:
        match record:
            case LiveFrame(rows=rows):
                for row in rows:
                    self.board.put_row(row)
            case FlowStatus():
                self.board.put_flow(record)
            case StoreStatus():
                self.board.put_store(record)
            case ProcessStatus():
                self._heard(record)
            case Verification():
                self.board.put_verification(record)

    def _take_decisions(self, chunk: Chunk) -> None:
        for record in chunk.records():
            try:
                self.board.put_decision(decode_decision(record), record)
            except UNREADABLE:
                metrics.BAD_RECORDS.labels(topics.DECISIONS).inc()

    async def serve(self, socket: WebSocket, org_id: str) -> None:
        """One browser of one organisation, from accepting it to its end."""
        protocol = PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None
        await socket.accept(subprotocol=protocol)
        if not self._room.take(org_id, 1):
            metrics.REFUSED.labels("too_many").inc()
            ORGANISATION_REFUSED.labels(org_id, "live_clients").inc()
            mine, all_clients = self._room.held(org_id), self._room.total
            reason = f"your organisation has {mine} of this server's {all_clients} live clients; try again later"
            await socket.close(CLOSE_TOO_MANY, reason)
            return
        config = configuration(self.session, self._version, self._pace.heartbeat_s)
        client = LiveClient(socket, self.board, org_id, config, self._pace)
        self._clients.add(client)
        metrics.CLIENTS.inc()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_WAIT_S):
                    await self.ready.wait()
            client.start_from(self._resume_seq(socket, org_id), _subscription(socket))
            client.wake()
            await client.run()
        finally:
            self._clients.discard(client)
            self._room.give_back(org_id, 1)
            metrics.CLIENTS.dec()

    def _resume_seq(self, socket: WebSocket, org_id: str) -> int:
        """Where a lost connection goes on; 0 when this session does not know, so that everything is sent."""
        seq = socket.query_params.get("seq", "")
        if socket.query_params.get("session") != self.session or not seq.isdecimal() or len(seq) > 18:
            return 0
        known = self.board.organisation(org_id).evicted_seq <= int(seq) <= self.board.seq
        return int(seq) if known else 0


def _subscription(socket: WebSocket) -> frozenset[str] | None:
    named = socket.query_params.get("campaigns", "")
    return frozenset(named.split(",")[:SUBSCRIPTION_MAX]) if named else None
