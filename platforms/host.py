"""The running side of `penstock actuate`: log in, HTTP out, receipts back into the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from prometheus_client import Counter, Gauge

from platforms.follower import Follower, readable, skip
from platforms.outbox import Outbox
from platforms.restore import Restored, restore
from platforms.sender import Sender
from platforms.sending import Sending
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import CampaignRecord, decode_control
from schemas.decisions import Decision, Mode, decode_decision
from schemas.health import Loop, Progress
from schemas.log import Chunk, Log, LogUnavailableError
from schemas.receipts import Receipt, ReceiptState, encode_receipt
from schemas.tracing import span

GROUP: Final = "actuate"
IDLE_S: Final = 0.05
COMMIT_EVERY_MS: Final = 1_000
# Waits when the log is away.
LOG_RETRY_S: Final = 1.0
# At the end what is in flight may take so long; it is sent again after the next start when it takes longer.
END_S: Final = 6.0

# How long the log may take to hand over definitions that it says are there; records removed at its end never come.
KNOWN_WITHIN_S: Final = 5.0
# Decisions that waited are read for so long before the first is sent; a log that has no more to give costs no more.
CATCH_UP_MS: Final = 30_000

# Receipts written, by platform and state: RETRYING says that a platform is down or throttles.
RECEIPTS = Counter("penstock_actuate_receipts", "Receipts written", ["platform", "state"])
# Decisions on their way to a platform.
WAITING = Gauge("penstock_actuate_waiting", "Sendings that wait for a platform")
# Whether each platform has credentials (1) or runs dry (0).
ARMED = Gauge("penstock_actuate_armed", "Platform has credentials", ["platform"])

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class Actuator:
    """Follows decisions and brings them into effect until `stop` is set.

    The outbox is touched by the event loop only; reading and writing of the log is done in threads.
    """

    log: Log
    outbox: Outbox
    sender: Sender
    clock_ms: Callable[[], int]
    # False once another process has the lease: nothing more is sent then.
    leads: Callable[[], bool] = lambda: True
    campaigns: dict[tuple[str, str], Campaign] = field(default_factory=dict)
    # Send once more what was parked after a day of failures.
    retry_parked: bool = False
    health: Progress = field(default_factory=Progress)
    _control: Follower = field(init=False)
    _decisions: Follower = field(init=False)
    _restored: Restored = field(init=False)
    _committed: tuple[int, int] = (-1, 0)
    _sendings: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def loop(self) -> Loop:
        """Records taken in and attempts ended, for whoever watches that it goes on."""
        return self.health.loop("outbox")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until another process leads; what waits then is sent after the next start."""
        for platform in self.outbox.adapters:
            ARMED.labels(platform).set(platform in self.outbox.armed)
        self.health.starting = "reads what was sent before"
        if not await self._start(stop):
            return
        self.health.ready()
        while not stop.is_set() and self.leads():
            self.loop.turn()
            try:
                moved = await self._read()
                await self._commit()
                self.loop.goes_on()
            except LogUnavailableError as error:
                self.loop.waits_for(f"the log: {error}")
                _log.warning("the log is away: %s", error)
                await _nap(stop, LOG_RETRY_S)
                continue
            sent = self._send_due()
            WAITING.set(len(self.outbox.waiting))
            if not moved and not sent:
                await _nap(stop, IDLE_S)
        await self._end()

    async def _start(self, stop: asyncio.Event) -> bool:
        """Read back what is known, then decisions up to the end, so that of a backlog only the newest words go out."""
        restored = await self._patiently(
            lambda: restore(self.log, self.outbox, GROUP, self.retry_parked, self.clock_ms()), stop
        )
        if restored is None:
            return False
        self._restored, self._control, self._decisions = restored, restored.control, restored.decisions
        self._take_control(restored.definitions)
        restored.definitions = []
        until = self.clock_ms() + CATCH_UP_MS
        while self._decisions.offset < restored.end and not self.outbox.full and self.clock_ms() < until:
            try:
                moved = await self._read()
            except LogUnavailableError:
                moved = False
            if stop.is_set():
                return False
            if not moved:
                await _nap(stop, IDLE_S)
        self.outbox.restate_before = 0
        restored.tell_unheard(self.campaigns, self.outbox.armed)
        return True

    async def _read(self) -> bool:
        """Take in what is new; False when there was nothing. Decisions wait while the outbox is full."""
        moved = False
        while control := await asyncio.to_thread(self._control.next):
            self._take_control([control])
            moved = True
        if self.outbox.full:
            return moved
        decisions = await asyncio.to_thread(self._decisions.next)
        if decisions is None:
            return moved
        try:
            await self._know_campaigns()
        except LogUnavailableError:
            self._decisions.offset = decisions.first_offset
            raise
        self._restored.tell_gaps(self._decisions, decisions)
        receipts = [receipt for offset, told in _decoded(decisions) for receipt in self._offer(offset, told)]
        self.loop.did()
        await self._record(receipts)
        return True

    async def _know_campaigns(self) -> None:
        """Read control to where it ends now: the decisions just read are of campaigns defined there, and one of
        a campaign that is not known is of no platform. What a broker gives of control may come after what it gives of
        decisions. Raises LogUnavailableError."""
        end = await asyncio.to_thread(self.log.end, topics.CONTROL, 0)
        clock = asyncio.get_running_loop()
        until_s = clock.time() + KNOWN_WITHIN_S
        while self._control.offset < end and clock.time() < until_s:
            control = await asyncio.to_thread(self._control.next)
            if control is None:
                await asyncio.sleep(IDLE_S)
            else:
                self._take_control([control])

    def _offer(self, offset: int, decision: Decision) -> list[Receipt]:
        key = (decision.org_id, decision.campaign_id)
        campaign = self.campaigns.get(key)
        if campaign is None or decision.mode != Mode.AUTO:
            return []
        self._restored.heard.add(key)
        try:
            return self.outbox.offer(offset, decision, campaign, self.clock_ms())
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            skip(topics.DECISIONS, offset, "senseless", error)
            return []

    async def _commit(self) -> None:
        """Remember how far every decision is final, once a second."""
        now_ms = self.clock_ms()
        done = self.outbox.done_before(self._decisions.offset)
        committed, committed_ms = self._committed
        if done != committed and now_ms - committed_ms >= COMMIT_EVERY_MS:
            await asyncio.to_thread(self.log.commit, GROUP, topics.DECISIONS, 0, done)
            self._committed = (done, now_ms)

    def _send_due(self) -> int:
        due = self.outbox.due(self.clock_ms())
        for sending in due:
            task = asyncio.create_task(self._send(sending))
            self._sendings.add(task)
            task.add_done_callback(self._sendings.discard)
        return len(due)

    async def _send(self, sending: Sending) -> None:
        try:
            await self._record([self.outbox.sending(sending)])
        except LogUnavailableError:
            # A pause saves money now; without this receipt a kill would only make the next start send it again.
            _log.warning("sent without its first receipt: the log is away", extra=_named(sending))
        link = sending.link
        about = {**_named(sending), "platform": link.platform, "account_id": link.account_id}
        with span("send to the platform", **about, kind=str(sending.decision.kind), attempt=sending.attempts + 1):
            outcome, status = await self.sender.send(sending, self.leads)
        receipt = self.outbox.answered(sending, outcome, status, self.clock_ms())
        self.loop.did()
        while True:
            try:
                await self._record([receipt])
                return
            except LogUnavailableError:
                await asyncio.sleep(LOG_RETRY_S)

    async def _record(self, receipts: list[Receipt]) -> None:
        if not receipts:
            return
        encoded = [encode_receipt(receipt) for receipt in receipts]
        await asyncio.to_thread(self.log.append, topics.RECEIPTS, 0, encoded)
        for receipt in receipts:
            RECEIPTS.labels(receipt.platform, receipt.state).inc()
            _tell(receipt)

    def _take_control(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            for _, (key, campaign) in readable(chunk, _definition):
                if campaign is not None:
                    self.campaigns[key] = campaign

    async def _end(self) -> None:
        if self._sendings:
            await asyncio.wait(self._sendings, timeout=END_S)
        for task in self._sendings:
            task.cancel()

    async def _patiently(self, step: Callable[[], T], stop: asyncio.Event) -> T | None:
        while not stop.is_set():
            try:
                answer = await asyncio.to_thread(step)
                self.loop.goes_on()
                return answer
            except LogUnavailableError as error:
                self.loop.turn()
                self.loop.waits_for(f"the log: {error}")
                _log.warning("the log is away: %s", error)
                await _nap(stop, LOG_RETRY_S)
        return None


def _decoded(chunk: Chunk) -> list[tuple[int, Decision]]:
    return list(readable(chunk, decode_decision))


def _definition(record: bytes) -> tuple[tuple[str, str], Campaign | None]:
    control = decode_control(record)
    if not isinstance(control, CampaignRecord):
        return ("", ""), None
    return (control.org_id, control.campaign_id), control.definition()


async def _nap(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _tell(receipt: Receipt) -> None:
    """What was done, for the process's own log: ids and states, never a request or a credential."""
    troubled = receipt.state in (ReceiptState.RETRYING, ReceiptState.REJECTED, ReceiptState.PARKED)
    _log.log(
        logging.WARNING if troubled else logging.INFO,
        "%s %s: %s on %s", receipt.kind, receipt.decision_id, receipt.state, receipt.platform,
        extra={
            "decision_id": receipt.decision_id, "receipt_id": receipt.receipt_id, "org_id": receipt.org_id,
            "campaign_id": receipt.campaign_id, "kind": receipt.kind, "platform": receipt.platform,
            "account_id": receipt.account_id, "campaign_ref": receipt.campaign_ref,
            "state": receipt.state, "attempts": receipt.attempts, "status": receipt.status,
            "error_code": receipt.error_code,
        },
    )  # fmt: skip


def _named(sending: Sending) -> dict[str, str]:
    decision = sending.decision
    return {"decision_id": decision.decision_id, "org_id": decision.org_id, "campaign_id": decision.campaign_id}
