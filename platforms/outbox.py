"""Which decision is sent when: one request at a time for an object, the newest word last. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from platforms.model import Adapter, Applied, Outcome, Rejected, Retry, Unsupported, changes_of, field_of
from platforms.sending import Order, Sending, Target, receipt_of
from schemas.campaigns import Campaign
from schemas.decisions import Decision, Kind
from schemas.receipts import FINAL_STATES, Receipt, ReceiptState

# Waits grow from a second to five minutes; a platform that is down for a day gets a person's attention.
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 300.0
RETRY_FOR_MS: Final = 86_400_000
# A request whose end we did not hear of may take effect until so long after we gave it up: platforms queue writes for
# seconds, not for minutes.
SETTLES_MS: Final = 60_000
# An attempt that a killed process began has ended, or was given up, so long after the start of the next one.
ATTEMPT_MS: Final = 60_000
# Final receipts remembered; older decisions lie before the committed offset anyway.
SETTLED_MAX: Final = 200_000
# Sendings that wait; beyond it reading of decisions stops until some are done.
WAITING_MAX: Final = 20_000


def backoff_s(attempts: int) -> float:
    """The wait after a number of failed attempts.

    >>> [backoff_s(n) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    return min(BACKOFF_FIRST_S * 2.0 ** min(attempts - 1, 30), BACKOFF_MAX_S)


def _ends_an_attempt(receipt: Receipt) -> bool:
    """Whether it is about a request's answer; a word that gave way to a newer one may have been under way before."""
    answered = (ReceiptState.APPLIED, ReceiptState.RETRYING, ReceiptState.REJECTED, ReceiptState.PARKED)
    return receipt.state in answered or receipt.error_code is not None


@dataclass(slots=True)
class Unanswered:
    """Requests on one field that may yet take effect, and until when."""

    until_ms: int
    # Whose they are; None: of several words, or of one that nobody knows.
    receipt_id: str | None


@dataclass(slots=True)
class Outbox:
    """Everything between a decision read and its final receipt."""

    adapters: Mapping[str, Adapter]
    # Platforms with credentials; the others run dry.
    armed: frozenset[str]
    # The newest word on each field that is not final yet.
    waiting: dict[Target, Sending] = field(default_factory=dict)
    # Attempts under way, by receipt id; one that was superseded meanwhile is here and not in `waiting`.
    in_flight: dict[str, Sending] = field(default_factory=dict)
    # The newest word that took effect on a field.
    applied: dict[Target, Order] = field(default_factory=dict)
    unanswered: dict[Target, Unanswered] = field(default_factory=dict)
    settled: OrderedDict[str, str] = field(default_factory=OrderedDict)
    # When an account may send next.
    account_free_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    # Words before this offset are sent once more though they are in effect: decisions were lost before them.
    restate_before: int = 0
    # Attempts of a former process without an end, while receipts are read back.
    _begun: dict[str, Target] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return len(self.waiting) >= WAITING_MAX

    def forget(self) -> None:
        """Back to before the first receipt."""
        for known in (self.applied, self.unanswered, self.settled, self._begun):
            known.clear()

    def restore(self, receipt: Receipt, *, settle: bool = True) -> None:
        """Take note of a receipt read back at start; without `settle` only of what it says about the object."""
        kind = receipt.field or field_of(receipt.kind)
        target = (receipt.platform, receipt.account_id, receipt.campaign_ref, kind)
        if receipt.state == ReceiptState.SENDING:
            if receipt.receipt_id in self._begun:
                # Killed before it was answered, and sent once more by the next process.
                self._no_answer(target, receipt.receipt_id, 0)
            self._begun[receipt.receipt_id] = target
            return
        if _ends_an_attempt(receipt):
            self._begun.pop(receipt.receipt_id, None)
        if receipt.unknown:
            self._no_answer(target, receipt.receipt_id, 0)
        if receipt.state == ReceiptState.APPLIED:
            order = (receipt.decision_sequence, receipt.decision_offset)
            self.applied[target] = max(self.applied.get(target, (-1, -1)), order)
        if settle and receipt.state in FINAL_STATES:
            self._settle(receipt.receipt_id, receipt.state)

    def restored(self, now_ms: int) -> None:
        """All receipts are read back: what a former process began and did not end may yet take effect.

        How long ago that was nobody knows, as the wall clock may have been set meanwhile: the time counts from now. It
        costs a request where it was long ago, and only for words that are not behind the committed offset.
        """
        for known in self.unanswered.values():
            known.until_ms = now_ms + SETTLES_MS
        for identifier, target in self._begun.items():
            self._no_answer(target, identifier, now_ms + ATTEMPT_MS + SETTLES_MS)
        self._begun.clear()

    def offer(self, offset: int, decision: Decision, campaign: Campaign, now_ms: int) -> list[Receipt]:
        """Queue a decision for every linked platform object; the receipts of what is final at once.

        Raises ValueError when the decision does not hold what its kind needs.
        """
        receipts: list[Receipt] = []
        for link in campaign.platforms:
            if link.platform not in self.adapters:
                continue
            for kind, change in changes_of(decision, link, campaign.currency).items():
                made = change if isinstance(change, Unsupported) else self.adapters[link.platform].make_requests(change)
                requests = [] if isinstance(made, Unsupported) else made
                sending = Sending(offset, decision, link, requests, kind, now_ms, now_ms)
                receipts.extend(self._offer_one(sending, made, now_ms))
        return receipts

    def due(self, now_ms: int) -> list[Sending]:
        """What to send now: one at a time for an object, within each account's rate, pauses before the rest."""
        chosen: dict[tuple[str, str], Sending] = {}
        busy = {touched for sending in self.in_flight.values() for touched in sending.objects}
        for pauses in (True, False):
            for sending in self.waiting.values():
                if (sending.decision.kind == Kind.PAUSE) is not pauses or sending.due_ms > now_ms:
                    continue
                if sending.account in chosen or self.account_free_ms.get(sending.account, 0) > now_ms:
                    continue
                if busy.isdisjoint(sending.objects):
                    chosen[sending.account] = sending
        for account, sending in chosen.items():
            rate = self.adapters[sending.link.platform].requests_per_second
            self.account_free_ms[account] = now_ms + round(1_000 * len(sending.requests) / rate)
            sending.sent_ms = now_ms
            self.in_flight[sending.receipt_id] = sending
        return list(chosen.values())

    def sending(self, sending: Sending) -> Receipt:
        """The receipt that an attempt begins, to be durable before the first request."""
        return receipt_of(sending, ReceiptState.SENDING, sending.sent_ms)

    def answered(self, sending: Sending, outcome: Outcome, status: int | None, now_ms: int) -> Receipt:
        """The receipt of one attempt; a sending that is not final waits for its next one."""
        del self.in_flight[sending.receipt_id]
        sending.attempts += 1
        match outcome:
            case Applied(request_id):
                receipt = receipt_of(sending, ReceiptState.APPLIED, now_ms, status=status, request_id=request_id)
                self._settle(receipt.receipt_id, receipt.state)
                self._applied(sending)
            case Rejected(code, message, request_id):
                receipt = receipt_of(
                    sending, ReceiptState.REJECTED, now_ms, status=status, code=code, message=message,
                    request_id=request_id,
                )  # fmt: skip
                self._settle(receipt.receipt_id, receipt.state)
                self._done_with(sending)
            case Retry():
                receipt = self._again(sending, outcome, status, now_ms)
        return receipt

    def done_before(self, next_offset: int) -> int:
        """Every decision before this offset is final: what may be committed."""
        open_ones = (*self.waiting.values(), *self.in_flight.values())
        return min((sending.offset for sending in open_ones), default=next_offset)

    def _offer_one(self, sending: Sending, made: object, now_ms: int) -> list[Receipt]:
        identifier, target = sending.receipt_id, sending.target
        sending.restating = self._must_restate(sending)
        if (identifier in self.settled and not sending.restating) or identifier in self.in_flight:
            return []
        if isinstance(made, Unsupported):
            return [self._final(sending, ReceiptState.UNSUPPORTED, now_ms, made.message)]
        if self.applied.get(target, (-1, -1)) > sending.order:
            return [self._final(sending, ReceiptState.SUPERSEDED, now_ms, "a newer decision is in effect")]
        if sending.link.platform not in self.armed:
            return [self._final(sending, ReceiptState.DRY_RUN, now_ms, "no credentials for this platform")]
        before = self.waiting.get(target)
        if before is not None and before.receipt_id == identifier:
            return []
        if before is not None and before.order >= sending.order:
            return [self._final(sending, ReceiptState.SUPERSEDED, now_ms, f"by {before.decision.decision_id}")]
        self.waiting[target] = sending
        # One in flight has its say when it is answered; one that is in effect keeps its receipt.
        if before is None or before.restating or before.receipt_id in self.in_flight:
            return []
        return [self._final(before, ReceiptState.SUPERSEDED, now_ms, f"by {sending.decision.decision_id}")]

    def _must_restate(self, sending: Sending) -> bool:
        """It is in effect, the newest on its field, and something may have come after it on the platform."""
        newest = self.applied.get(sending.target) == sending.order
        if self.settled.get(sending.receipt_id) != ReceiptState.APPLIED or not newest:
            return False
        if sending.offset < self.restate_before:
            return True
        before = self.unanswered.get(sending.target)
        if before is None or before.receipt_id == sending.receipt_id:
            return False
        sending.due_ms = max(sending.due_ms, before.until_ms)
        return True

    def _applied(self, sending: Sending) -> None:
        self._took_effect(sending.target, sending.order, sending.sent_ms)
        haunted = self.unanswered.get(sending.target)
        if self.waiting.get(sending.target) is not sending:
            return
        if haunted is None or haunted.receipt_id == sending.receipt_id:
            self._done_with(sending)
        else:
            sending.restating, sending.due_ms, sending.attempts = True, haunted.until_ms, 0

    def _again(self, sending: Sending, outcome: Retry, status: int | None, now_ms: int) -> Receipt:
        if outcome.unknown:
            self._no_answer(sending.target, sending.receipt_id, now_ms + SETTLES_MS)
        wait_s = backoff_s(sending.attempts) if outcome.after_s is None else max(outcome.after_s, BACKOFF_FIRST_S)
        sending.due_ms = now_ms + round(1_000 * min(wait_s, RETRY_FOR_MS / 1_000))
        state, newest = ReceiptState.RETRYING, self.waiting.get(sending.target)
        if newest is not sending:
            state = ReceiptState.SUPERSEDED
            # The platform's wait is for the object, whoever's turn it is; our own back-off is not.
            if newest is not None and outcome.after_s is not None:
                newest.due_ms = max(newest.due_ms, sending.due_ms)
        elif now_ms - sending.first_ms >= RETRY_FOR_MS:
            state = ReceiptState.PARKED
        if state in FINAL_STATES:
            self._settle(sending.receipt_id, state)
            self._done_with(sending)
        return receipt_of(
            sending, state, now_ms, status=status, code=outcome.code, message=outcome.message, unknown=outcome.unknown
        )

    def _no_answer(self, target: Target, identifier: str, until_ms: int) -> None:
        before = self.unanswered.get(target)
        if before is None:
            self.unanswered[target] = Unanswered(until_ms, identifier)
            return
        before.until_ms = max(before.until_ms, until_ms)
        if before.receipt_id != identifier:
            before.receipt_id = None

    def _took_effect(self, target: Target, order: Order, sent_ms: int) -> None:
        self.applied[target] = max(self.applied.get(target, (-1, -1)), order)
        before = self.unanswered.get(target)
        if before is not None and sent_ms >= before.until_ms:
            del self.unanswered[target]

    def _done_with(self, sending: Sending) -> None:
        # A newer decision may have taken the place meanwhile.
        if self.waiting.get(sending.target) is sending:
            del self.waiting[sending.target]

    def _final(self, sending: Sending, state: ReceiptState, now_ms: int, message: str) -> Receipt:
        self._settle(sending.receipt_id, state)
        return receipt_of(sending, state, now_ms, message=message)

    def _settle(self, identifier: str, state: str) -> None:
        self.settled[identifier] = state
        while len(self.settled) > SETTLED_MAX:
            self.settled.popitem(last=False)
