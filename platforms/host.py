"""The running side of `penstock actuate`: log in, HTTP out, receipts back into the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from prometheus_client import Counter, Gauge

from platforms.outbox import Outbox, Sending
from platforms.sender import Sender
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import CampaignRecord, decode_control
from schemas.decisions import Decision, Mode, decode_decision
from schemas.log import Log, LogUnavailableError
from schemas.receipts import Receipt, ReceiptState, decode_receipt, encode_receipt

GROUP: Final = "actuate"
READ_BYTES: Final = 1 << 20
IDLE_S: Final = 0.05
COMMIT_EVERY_MS: Final = 1_000
# Waits when the log is away.
LOG_RETRY_S: Final = 1.0

# Receipts written, by platform and state: RETRYING says that a platform is down or throttles.
RECEIPTS = Counter("penstock_actuate_receipts", "Receipts written", ["platform", "state"])
# Decisions on their way to a platform.
WAITING = Gauge("penstock_actuate_waiting", "Sendings that wait for a platform")
# Whether each platform has credentials (1) or runs dry (0).
ARMED = Gauge("penstock_actuate_armed", "Platform has credentials", ["platform"])


@dataclass(slots=True)
class _Position:
    control: int = 0
    decisions: int = 0
    committed: int = -1
    committed_ms: int = 0


@dataclass(slots=True)
class Actuator:
    """Follows decisions and brings them into effect until `stop` is set."""

    log: Log
    outbox: Outbox
    sender: Sender
    clock_ms: Callable[[], int]
    campaigns: dict[tuple[str, str], Campaign] = field(default_factory=dict)
    # Send once more what was parked after a day of failures.
    retry_parked: bool = False
    position: _Position = field(default_factory=_Position)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is in flight then is finished, what waits is sent after the next start."""
        for platform in self.outbox.adapters:
            ARMED.labels(platform).set(platform in self.outbox.armed)
        await self._patiently(self.restore, stop)
        sendings: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            try:
                moved = await asyncio.to_thread(self.read)
                await asyncio.to_thread(self.commit)
            except LogUnavailableError:
                await asyncio.sleep(LOG_RETRY_S)
                continue
            due = self.outbox.due(self.clock_ms())
            for sending in due:
                task = asyncio.create_task(self._send(sending))
                sendings.add(task)
                task.add_done_callback(sendings.discard)
            WAITING.set(len(self.outbox.waiting))
            if not moved and not due:
                await asyncio.sleep(IDLE_S)
        if sendings:
            await asyncio.wait(sendings)

    def restore(self) -> None:
        """Read control and receipts from the beginning, and where to go on in decisions."""
        self._read_control()
        committed = self.log.committed(GROUP, topics.DECISIONS, 0)
        self.position.decisions = self.log.begin(topics.DECISIONS, 0) if committed is None else committed
        for receipt in self._last_receipts().values():
            if self.retry_parked and receipt.state == ReceiptState.PARKED:
                self.position.decisions = min(self.position.decisions, receipt.decision_offset)
            else:
                self.outbox.restore(receipt)

    def _last_receipts(self) -> dict[str, Receipt]:
        """The last word on every sending, in the order in which sendings were first heard of."""
        last: dict[str, Receipt] = {}
        offset = self.log.begin(topics.RECEIPTS, 0)
        while chunk := self.log.read(topics.RECEIPTS, 0, offset, READ_BYTES):
            for record in chunk.records():
                receipt = decode_receipt(record)
                last[receipt.receipt_id] = receipt
            offset = chunk.next_offset
        return last

    def read(self) -> bool:
        """Take in what is new; False when there was nothing. Decisions wait while the outbox is full."""
        self._read_control()
        if self.outbox.full:
            return False
        chunk = self.log.read(topics.DECISIONS, 0, self.position.decisions, READ_BYTES)
        if chunk is None:
            return False
        offset = chunk.first_offset
        for index, record in enumerate(chunk.records()):
            if chunk.offsets is not None:
                offset = int(chunk.offsets[index])
            self._take(offset, decode_decision(record))
            offset += len(record) + 1
        self.position.decisions = chunk.next_offset
        return True

    def commit(self) -> None:
        """Remember how far every decision is final, once a second."""
        now_ms = self.clock_ms()
        done = self.outbox.done_before(self.position.decisions)
        if done == self.position.committed or now_ms - self.position.committed_ms < COMMIT_EVERY_MS:
            return
        self.log.commit(GROUP, topics.DECISIONS, 0, done)
        self.position.committed, self.position.committed_ms = done, now_ms

    def _take(self, offset: int, decision: Decision) -> None:
        campaign = self.campaigns.get((decision.org_id, decision.campaign_id))
        if campaign is None or decision.mode != Mode.AUTO:
            return
        self._record(self.outbox.offer(offset, decision, campaign, self.clock_ms()))

    async def _send(self, sending: Sending) -> None:
        outcome, status = await self.sender.send(sending)
        receipt = self.outbox.answered(sending, outcome, status, self.clock_ms())
        while True:
            try:
                await asyncio.to_thread(self._record, [receipt])
                return
            except LogUnavailableError:
                await asyncio.sleep(LOG_RETRY_S)

    def _record(self, receipts: list[Receipt]) -> None:
        if receipts:
            self.log.append(topics.RECEIPTS, 0, [encode_receipt(receipt) for receipt in receipts])
        for receipt in receipts:
            RECEIPTS.labels(receipt.platform, receipt.state).inc()

    def _read_control(self) -> None:
        offset = max(self.position.control, self.log.begin(topics.CONTROL, 0))
        while chunk := self.log.read(topics.CONTROL, 0, offset, READ_BYTES):
            for record in chunk.records():
                self._define(record)
            offset = chunk.next_offset
        self.position.control = offset

    def _define(self, record: bytes) -> None:
        try:
            control = decode_control(record)
            if isinstance(control, CampaignRecord):
                self.campaigns[control.org_id, control.campaign_id] = control.definition()
        except (msgspec.ValidationError, ValueError):
            # A foreign writer's bad definition: the flow reports it; here the former one stays in force.
            return

    async def _patiently(self, step: Callable[[], None], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await asyncio.to_thread(step)
                return
            except LogUnavailableError:
                await asyncio.sleep(LOG_RETRY_S)
