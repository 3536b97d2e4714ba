"""One connected browser: a task that reads what it says and one that writes what changed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.live import frames, metrics
from api.live.board import Board
from api.live.frames import Frame, Subscription
from api.live.protocol import (
    CLOSE_BAD_MESSAGE,
    CLOSE_SILENT,
    CLOSE_TOO_MANY,
    DETAILS_MAX,
    FRAMES_PER_S,
    HEARTBEATS_MISSED_MAX,
    MESSAGES_PER_S,
    BadMessageError,
    ClientMessage,
    Detail,
    Pause,
    Ping,
    Resume,
    Subscribe,
    decode_message,
)

# A little longer than said, so that jitter on the way never makes one frame a second more.
FRAME_GAP_S: Final = 1.05 / FRAMES_PER_S
CLOSE_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a client hears from the server, and how long the server waits for it."""

    heartbeat_s: float
    write_timeout_s: float


class ClosingError(Exception):
    """The server ends the connection with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class LiveClient:
    """Its whole state is the number it was sent last, its subscription and a few flags: it cannot grow."""

    def __init__(self, socket: WebSocket, board: Board, org_id: str, config: dict[str, Any], pace: Pace) -> None:
        self._socket: Final = socket
        self._board: Final = board
        self._org_id: Final = org_id
        self._config: dict[str, Any] | None = config
        self._pace: Final = pace
        self._wake: Final = asyncio.Event()
        self._wanted: Subscription = None
        self._sent_seq = 0
        self._snapshot_due = True
        self._paused = False
        self._pong_due = False
        self._details: list[str] = []
        self._heard_at = time.monotonic()
        self._messages = 0
        self._messages_from = self._heard_at

    def wake(self) -> None:
        """Something changed."""
        self._wake.set()

    def start_from(self, seq: int, wanted: Subscription) -> None:
        """Begin behind `seq` (0: with everything) and with these campaigns."""
        self._sent_seq = seq
        self._wanted = wanted

    async def run(self) -> None:
        """Until the browser leaves, goes silent or breaks the protocol."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            await self._end(task)

    async def _end(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if isinstance(error, ClosingError):
            # A peer that takes nothing does not take a close frame either.
            with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await self._socket.close(error.code, error.reason)
        elif error is not None and not isinstance(error, (WebSocketDisconnect, TimeoutError)):
            raise error

    async def _read(self) -> None:
        while True:
            text = await self._socket.receive()
            if text["type"] == "websocket.disconnect":
                return
            self._count_message()
            self._heard_at = time.monotonic()
            try:
                message = decode_message(text.get("text") or "")
            except BadMessageError as error:
                # A close reason has at most 123 bytes.
                raise ClosingError(CLOSE_BAD_MESSAGE, str(error)[:100]) from error
            self._take(message)
            self._wake.set()

    def _count_message(self) -> None:
        now = time.monotonic()
        if now - self._messages_from >= 1:
            self._messages, self._messages_from = 0, now
        self._messages += 1
        if self._messages > MESSAGES_PER_S:
            raise ClosingError(CLOSE_TOO_MANY, f"more than {MESSAGES_PER_S} messages a second")

    def _take(self, message: ClientMessage) -> None:
        match message:
            case Subscribe(campaigns="all"):
                self._wanted, self._snapshot_due, self._sent_seq = None, True, 0
            case Subscribe(campaigns=ids):
                self._wanted, self._snapshot_due, self._sent_seq = frozenset(ids), True, 0
            case Pause():
                self._paused = True
            case Resume():
                self._paused = False
            case Detail(campaign_id=campaign_id):
                if campaign_id not in self._details and len(self._details) < DETAILS_MAX:
                    self._details.append(campaign_id)
            case Ping():
                self._pong_due = True
            case _:
                pass

    async def _write(self) -> None:
        next_frame = 0.0
        next_ping = time.monotonic() + self._pace.heartbeat_s
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_ping - time.monotonic())):
                    await self._wake.wait()
            self._wake.clear()
            if time.monotonic() >= next_ping:
                self._must_be_heard()
                await self._send(frames.ping(self._board, self._org_id, self._sent_seq, _now_ms()))
                next_ping = time.monotonic() + self._pace.heartbeat_s
            await self._answer()
            if self._paused or self._board.seq == self._sent_seq:
                continue
            if (wait_s := next_frame - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            next_frame = time.monotonic() + FRAME_GAP_S
            await self._send_delta()

    def _must_be_heard(self) -> None:
        if time.monotonic() - self._heard_at > HEARTBEATS_MISSED_MAX * self._pace.heartbeat_s:
            raise ClosingError(CLOSE_SILENT, "no heartbeat from the client")

    async def _answer(self) -> None:
        if self._snapshot_due:
            self._snapshot_due = False
            await self._send_snapshot()
        if self._pong_due:
            self._pong_due = False
            await self._send(frames.pong(self._board, self._org_id, self._sent_seq, _now_ms()))
        while self._details:
            campaign_id = self._details.pop(0)
            await self._send(frames.detail(self._board, self._org_id, campaign_id, self._sent_seq, _now_ms()))

    async def _send_snapshot(self) -> None:
        """All parts follow one another; what changes meanwhile comes in the first delta."""
        since, seq, wanted = self._sent_seq, self._board.seq, self._wanted
        entries = frames.snapshot_entries(self._board.organisation(self._org_id), since, wanted)
        parts = frames.snapshot_parts(entries)
        for part, rows in enumerate(parts):
            frame = frames.snapshot(
                self._board,
                self._org_id,
                rows,
                seq=seq if part == len(parts) - 1 else since,
                since=since,
                wanted=wanted,
                sent_ms=_now_ms(),
                place=(part, len(parts)),
                config=self._config,
            )
            await self._send(frame)
            self._config = None
        if not self._snapshot_due:
            self._sent_seq = seq

    async def _send_delta(self) -> None:
        frame = frames.delta(self._board, self._org_id, self._sent_seq, self._wanted, _now_ms())
        if frame is None:
            self._sent_seq = self._board.seq
            return
        await self._send(frame)
        if not self._snapshot_due:
            self._sent_seq = frame.seq
        if frame.seq < self._board.seq:
            self._wake.set()

    async def _send(self, frame: Frame) -> None:
        """Waits until the peer takes it, at most write_timeout_s: then TimeoutError ends the connection."""
        began = time.monotonic()
        async with asyncio.timeout(self._pace.write_timeout_s):
            await self._socket.send_text(frame.text)
        metrics.FRAMES.labels(frame.kind).inc()
        metrics.BYTES.inc(len(frame.text))
        metrics.DROPPED.inc(int((time.monotonic() - began) / FRAME_GAP_S))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
