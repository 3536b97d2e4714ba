"""Bad input as a value: what was refused, why, and where it came from."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

# Raw bytes kept of a refused record; enough to correct it by hand.
RAW_BYTES_MAX: Final = 8 * 1024


class Reject(StrEnum):
    """Why an event was refused."""

    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    TOO_LARGE = "too_large"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    UNKNOWN_TYPE = "unknown_type"
    TS_OUT_OF_RANGE = "ts_out_of_range"
    TS_IN_FUTURE = "ts_in_future"
    WRONG_ORGANISATION = "wrong_organisation"
    TOO_MANY_CAMPAIGNS = "too_many_campaigns"
    FOREIGN_CAMPAIGN = "foreign_campaign"
    COST_NOT_ALLOWED = "cost_not_allowed"


class DeadLetter(msgspec.Struct, kw_only=True):
    """One refused record. `raw` is its text, bytes that are not UTF-8 replaced, cut at RAW_BYTES_MAX."""

    dead_letter_id: str
    org_id: str
    # When it was refused (clock of the collector, or the last tick of its partition).
    ts_ms: int
    reason: str
    field: str
    detail: str
    raw: str
    raw_bytes: int
    # "events/3@123456" for a log position, "http/<request id>:<line>" for the collector.
    source: str


def dead_letter(
    raw: bytes, reason: Reject, field: str, detail: str, *, source: str, org_id: str, ts_ms: int
) -> DeadLetter:
    """A dead letter whose id follows from where it came from and what it says.

    >>> dead_letter(b"{", Reject.MALFORMED_JSON, "", "cut", source="events/0@0", org_id="default", ts_ms=0).reason
    'malformed_json'
    """
    digest = hashlib.blake2b(source.encode() + b"\0" + raw, digest_size=16).hexdigest()
    return DeadLetter(
        dead_letter_id=digest,
        org_id=org_id,
        ts_ms=ts_ms,
        reason=reason.value,
        field=field,
        detail=detail,
        raw=raw[:RAW_BYTES_MAX].decode("utf-8", "replace"),
        raw_bytes=len(raw),
        source=source,
    )
