"""One decision on its way to one field of one platform object, and the receipts it leaves. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platforms.model import Request
from schemas.campaigns import PlatformLink
from schemas.decisions import Decision
from schemas.identity import stable_id
from schemas.receipts import Receipt, ReceiptState

# One field of one platform object: (platform, account, campaign reference, field).
Target = tuple[str, str, str, str]
# What a request may touch: (platform, account, any reference of the link).
Object = tuple[str, str, str]
# Of two words the higher one is the newer: (the decision's sequence, its offset).
Order = tuple[int, int]


@dataclass(slots=True)
class Sending:
    """A decision's requests, which are one unit: they go out in order, and again from the first when one fails."""

    offset: int
    decision: Decision
    link: PlatformLink
    requests: list[Request]
    field: str
    first_ms: int
    due_ms: int
    attempts: int = 0
    # When the attempt in flight, or the last one, began.
    sent_ms: int = 0
    # It is in effect and is sent once more, because an older request may have been carried out after it.
    restating: bool = False

    @property
    def receipt_id(self) -> str:
        return receipt_id(self.decision, self.link, self.field)

    @property
    def order(self) -> Order:
        return (self.decision.sequence, self.offset)

    @property
    def target(self) -> Target:
        return (self.link.platform, self.link.account_id, self.link.campaign_ref, self.field)

    @property
    def account(self) -> tuple[str, str]:
        return (self.link.platform, self.link.account_id)

    @property
    def objects(self) -> frozenset[Object]:
        """Everything on the platform that the link names: two sendings that share any of it never run side by side."""
        link = self.link
        references = (link.campaign_ref, link.ad_group_ref, link.budget_ref)
        return frozenset((link.platform, link.account_id, ref) for ref in references if ref is not None)


def receipt_id(decision: Decision, link: PlatformLink, field: str) -> str:
    """The id of a decision's word on one field of a platform object: the same however often it is sent."""
    second = ("total",) if field == "set_total_budget" else ()
    return stable_id("receipt", decision.decision_id, link.platform, link.account_id, link.campaign_ref, *second)


def receipt_of(
    sending: Sending, state: ReceiptState, now_ms: int, *, status: int | None = None, code: str | None = None,
    message: str | None = None, request_id: str | None = None, unknown: bool = False,
) -> Receipt:  # fmt: skip
    """What is recorded of a sending."""
    decision = sending.decision
    return Receipt(
        receipt_id=sending.receipt_id,
        decision_id=decision.decision_id,
        decision_offset=sending.offset,
        decision_sequence=decision.sequence,
        org_id=decision.org_id,
        campaign_id=decision.campaign_id,
        kind=decision.kind,
        field=sending.field,
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
        unknown=unknown,
    )


def plain(requests: Sequence[Request]) -> list[dict[str, object]]:
    """The requests as they are recorded: they never hold credentials."""
    return [
        {"method": r.method, "url": r.url, "body": r.body if r.form is None else dict(r.form), "query": dict(r.query)}
        for r in requests
    ]
