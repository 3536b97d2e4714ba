"""Which decision is sent when: one queue an account, newest per field, back-off, final states. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from platforms.model import (
    Adapter,
    Applied,
    Outcome,
    Rejected,
    Request,
    Retry,
    Unsupported,
    change_of,
    field_of,
)  # fmt: skip
from schemas.campaigns import Campaign, PlatformLink
from schemas.decisions import Decision
from schemas.identity import stable_id
from schemas.receipts import FINAL_STATES, Receipt, ReceiptState

# Waits grow from a second to five minutes; a platform that is down for a day gets a person's attention.
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 300.0
RETRY_FOR_MS: Final = 86_400_000
# Final receipts remembered; older decisions lie before the committed offset anyway.
SETTLED_MAX: Final = 200_000
# Sendings that wait; beyond it reading of decisions stops until some are done.
WAITING_MAX: Final = 20_000

# One field of one platform object: (campaign, platform, account, reference, field).
Target = tuple[str, str, str, str, str]


def backoff_s(attempts: int) -> float:
    """The wait after a number of failed attempts.

    >>> [backoff_s(n) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    return min(BACKOFF_FIRST_S * 2.0 ** (attempts - 1), BACKOFF_MAX_S)


@dataclass(slots=True)
class Sending:
    """One decision on its way to one platform object."""

    offset: int
    decision: Decision
    link: PlatformLink
    requests: list[Request]
    target: Target
    first_ms: int
    due_ms: int
    attempts: int = 0
    in_flight: bool = False

    @property
    def receipt_id(self) -> str:
        return receipt_id(self.decision, self.link)


def receipt_id(decision: Decision, link: PlatformLink) -> str:
    """The id of the pair (decision, platform object): the same however often it is sent."""
    return stable_id("receipt", decision.decision_id, link.platform, link.account_id, link.campaign_ref)


def target_of(decision: Decision, link: PlatformLink) -> Target:
    """What the decision changes."""
    campaign = f"{decision.org_id}/{decision.campaign_id}"
    return (campaign, link.platform, link.account_id, link.campaign_ref, field_of(decision.kind))


@dataclass(slots=True)
class Outbox:
    """Everything between a decision read and its final receipt."""

    adapters: Mapping[str, Adapter]
    # Platforms with credentials; the others run dry.
    armed: frozenset[str]
    waiting: dict[Target, Sending] = field(default_factory=dict)
    # Highest decision offset that took effect on a target.
    applied: dict[Target, int] = field(default_factory=dict)
    settled: OrderedDict[str, str] = field(default_factory=OrderedDict)
    # When an account may send next.
    account_free_ms: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return len(self.waiting) >= WAITING_MAX

    def restore(self, receipt: Receipt) -> None:
        """Take note of a receipt read back at start."""
        if receipt.state not in FINAL_STATES:
            return
        self._settle(receipt.receipt_id, receipt.state)
        if receipt.state == ReceiptState.APPLIED:
            campaign = f"{receipt.org_id}/{receipt.campaign_id}"
            target = (campaign, receipt.platform, receipt.account_id, receipt.campaign_ref, field_of(receipt.kind))
            self.applied[target] = max(self.applied.get(target, -1), receipt.decision_offset)

    def offer(self, offset: int, decision: Decision, campaign: Campaign, now_ms: int) -> list[Receipt]:
        """Queue a decision for every linked platform object; the receipts of what is final at once."""
        receipts: list[Receipt] = []
        for link in campaign.platforms:
            if link.platform not in self.adapters or receipt_id(decision, link) in self.settled:
                continue
            receipts.extend(self._offer_one(offset, decision, link, campaign.currency, now_ms))
        return receipts

    def due(self, now_ms: int) -> list[Sending]:
        """What to send now: at most one an account at a time, within the account's rate."""
        chosen: dict[tuple[str, str], Sending] = {}
        busy = {self._account(s) for s in self.waiting.values() if s.in_flight}
        for sending in self.waiting.values():
            account = self._account(sending)
            free = self.account_free_ms.get(account, 0) <= now_ms and account not in busy
            if free and sending.due_ms <= now_ms and account not in chosen:
                chosen[account] = sending
        for account, sending in chosen.items():
            rate = self.adapters[sending.link.platform].requests_per_second
            self.account_free_ms[account] = now_ms + round(1_000 * len(sending.requests) / rate)
            sending.in_flight = True
        return list(chosen.values())

    def answered(self, sending: Sending, outcome: Outcome, status: int | None, now_ms: int) -> Receipt:
        """The receipt of one attempt; a sending that is not final waits for its next one."""
        sending.in_flight = False
        sending.attempts += 1
        match outcome:
            case Applied(request_id):
                self.applied[sending.target] = max(self.applied.get(sending.target, -1), sending.offset)
                receipt = self._receipt(sending, ReceiptState.APPLIED, now_ms, status=status, request_id=request_id)
            case Rejected(code, message, request_id):
                receipt = self._receipt(
                    sending, ReceiptState.REJECTED, now_ms, status=status, code=code, message=message,
                    request_id=request_id,
                )  # fmt: skip
            case Retry(code, message, after_s):
                wait_s = backoff_s(sending.attempts) if after_s is None else max(after_s, BACKOFF_FIRST_S)
                sending.due_ms = now_ms + round(1_000 * wait_s)
                late = now_ms - sending.first_ms >= RETRY_FOR_MS
                state = ReceiptState.PARKED if late else ReceiptState.RETRYING
                receipt = self._receipt(sending, state, now_ms, status=status, code=code, message=message)
        if receipt.state in FINAL_STATES:
            self._settle(receipt.receipt_id, receipt.state)
            # A newer decision may have taken the place meanwhile.
            if self.waiting.get(sending.target) is sending:
                del self.waiting[sending.target]
        return receipt

    def done_before(self, next_offset: int) -> int:
        """Every decision before this offset is final: what may be committed."""
        return min((sending.offset for sending in self.waiting.values()), default=next_offset)

    def _offer_one(
        self, offset: int, decision: Decision, link: PlatformLink, currency: str, now_ms: int
    ) -> list[Receipt]:
        change = change_of(decision, link, currency)
        made: list[Request] | Unsupported = change if isinstance(change, Unsupported) else []
        if not isinstance(change, Unsupported):
            made = self.adapters[link.platform].make_requests(change)
        requests = [] if isinstance(made, Unsupported) else made
        sending = Sending(offset, decision, link, requests, target_of(decision, link), now_ms, now_ms)
        if isinstance(made, Unsupported):
            return [self._final(sending, ReceiptState.UNSUPPORTED, now_ms, made.message)]
        if self.applied.get(sending.target, -1) > offset:
            return [self._final(sending, ReceiptState.SUPERSEDED, now_ms, "a newer decision is in effect")]
        if link.platform not in self.armed:
            return [self._final(sending, ReceiptState.DRY_RUN, now_ms, "no credentials for this platform")]
        before = self.waiting.get(sending.target)
        if before is not None and before.receipt_id == sending.receipt_id:
            return []
        if before is not None and before.offset >= offset:
            return [self._final(sending, ReceiptState.SUPERSEDED, now_ms, f"by {before.decision.decision_id}")]
        self.waiting[sending.target] = sending
        if before is None:
            return []
        return [self._final(before, ReceiptState.SUPERSEDED, now_ms, f"by {decision.decision_id}")]

    def _final(self, sending: Sending, state: ReceiptState, now_ms: int, message: str) -> Receipt:
        self._settle(sending.receipt_id, state)
        return self._receipt(sending, state, now_ms, message=message)

    def _settle(self, identifier: str, state: str) -> None:
        self.settled[identifier] = state
        while len(self.settled) > SETTLED_MAX:
            self.settled.popitem(last=False)

    @staticmethod
    def _account(sending: Sending) -> tuple[str, str]:
        return (sending.link.platform, sending.link.account_id)

    @staticmethod
    def _receipt(
        sending: Sending, state: ReceiptState, now_ms: int, *, status: int | None = None, code: str | None = None,
        message: str | None = None, request_id: str | None = None,
    ) -> Receipt:  # fmt: skip
        decision = sending.decision
        return Receipt(
            receipt_id=sending.receipt_id,
            decision_id=decision.decision_id,
            decision_offset=sending.offset,
            org_id=decision.org_id,
            campaign_id=decision.campaign_id,
            kind=decision.kind,
            platform=sending.link.platform,
            account_id=sending.link.account_id,
            campaign_ref=sending.link.campaign_ref,
            state=state.value,
            attempts=sending.attempts,
            ts_ms=now_ms,
            requests=plain(sending.requests),
            status=status,
            error_code=code,
            message=message,
            platform_request_id=request_id,
        )


def plain(requests: Sequence[Request]) -> list[dict[str, object]]:
    """The requests as they are recorded: they never hold credentials."""
    return [
        {"method": r.method, "url": r.url, "body": r.body if r.form is None else dict(r.form), "query": dict(r.query)}
        for r in requests
    ]
