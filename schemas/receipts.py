"""Receipts: what became of a decision on one ad platform; records of topic `receipts`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class ReceiptState(StrEnum):
    """Where the sending stands."""

    # On its way: written before the first request, so that a kill in between is known after the next start.
    SENDING = "sending"
    APPLIED = "applied"
    # Made and recorded, not sent: no credentials for the platform.
    DRY_RUN = "dry_run"
    RETRYING = "retrying"
    # The platform refused it and would refuse it again.
    REJECTED = "rejected"
    # Tried as often as allowed; waits for a person (`penstock actuate --retry-parked`).
    PARKED = "parked"
    # A newer decision on the same field came first; sending this one would put the clock back.
    SUPERSEDED = "superseded"
    # The platform has no such control.
    UNSUPPORTED = "unsupported"


FINAL_STATES = frozenset(
    {
        ReceiptState.APPLIED.value,
        ReceiptState.DRY_RUN.value,
        ReceiptState.REJECTED.value,
        ReceiptState.SUPERSEDED.value,
        ReceiptState.UNSUPPORTED.value,
        ReceiptState.PARKED.value,
    }
)


class Receipt(msgspec.Struct, kw_only=True):
    """One step of one decision on one platform. `receipt_id` is the same for every step of the pair."""

    receipt_id: str
    decision_id: str
    # Offset of the decision in topic `decisions`: of two decisions on one field the newer one counts.
    decision_offset: int
    org_id: str
    campaign_id: str
    kind: str
    platform: str
    account_id: str
    campaign_ref: str
    state: str
    attempts: int
    # Clock of the sender.
    ts_ms: int
    # The decision's place in its campaign's order, which counts before the offset; 0 in receipts of older versions.
    decision_sequence: int = 0
    # The field that it changes; empty in receipts of older versions, where `kind` says it.
    field: str = ""
    # `retrying`, `superseded` or `parked` without a clear answer: the platform may carry it out all the same.
    unknown: bool = False
    # Requests as sent, without credentials: [{"method", "url", "body"}].
    requests: list[dict[str, Any]] = []
    status: int | None = None
    error_code: str | None = None
    message: str | None = None
    # The platform's own id of the request, for its support desk.
    platform_request_id: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Receipt)


def encode_receipt(receipt: Receipt) -> bytes:
    """The bytes of one record of topic `receipts`."""
    return _encoder.encode(receipt)


def decode_receipt(record: bytes) -> Receipt:
    """The receipt in the bytes; raises one of `UNREADABLE` on anything else."""
    return _decoder.decode(record)
