"""Corrections: what changes counts and money after they were counted, and what became of each.

A correction is input like an event: it comes into force at one place of its campaign's written order
(`schemas.control.OrderEntry`), once, whoever sends it again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from schemas.events import ID_BYTES_MAX, TEXT_BYTES_MAX, TS_MS_MAX, TS_MS_MIN
from schemas.identity import stable_id

# A change of one counter, and of money in micros, by one correction.
COUNT_MAX: Final = 10**9
MICROS_MAX: Final = 10**15
NOTE_CHARS_MAX: Final = 500
# Texts by which a correction is found; others are those of an event's dimensions.
_IDS: Final = ("correction_id", "org_id", "campaign_id", "event_id", "by")
_DIMENSIONS: Final = ("creative_id", "channel", "country", "device")
COUNTERS: Final = ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros")


class Cause(StrEnum):
    """Why what was counted is not what it should be."""

    # The store found an event that the flow had counted before, longer ago than it remembers.
    LATE_DUPLICATE = "late_duplicate"
    # An event is invalid traffic after all, or is not.
    VERDICT_REVISED = "verdict_revised"
    # The platform gave money back.
    REFUND = "refund"
    # A person was erased.
    ERASURE = "erasure"
    # The platform's invoice says something else than its reports did.
    PLATFORM_INVOICE = "platform_invoice"
    # A person says so.
    NOTE = "note"


class Grain(StrEnum):
    """Which windows a correction changes.

    `moment`: every window that `ts_ms` lies in, down to 10 s, of the campaign and of its series: for what follows from
    one event. `day`: the campaign's day and total only: for what nobody knows more exactly, as an invoice.
    """

    MOMENT = "moment"
    DAY = "day"


class Correction(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One record of topic `corrections`, keyed by campaign: in the campaign's home partition.

    Counters are signed changes. `ts_ms` is the event time of what is corrected. `event_id` names the event, if it is
    one; `by` who says so and `noted_ms` when, by the clock of whoever wrote it: shown, never used in decisions.
    """

    correction_id: str
    org_id: str
    campaign_id: str
    ts_ms: int
    cause: Cause
    grain: Grain = Grain.MOMENT
    creative_id: str = ""
    channel: str = ""
    country: str = ""
    device: str = ""
    event_id: str = ""
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    leads: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0
    by: str = ""
    noted_ms: int = 0
    note: str = ""

    def check(self) -> None:
        """Raise ValueError where a change is beyond what one correction may change, or it names nobody."""
        if not (self.correction_id and self.org_id and self.campaign_id):
            raise ValueError("a correction names its id, its organisation and its campaign")
        for name in COUNTERS:
            most = MICROS_MAX if name.endswith("_micros") else COUNT_MAX
            if abs(getattr(self, name)) > most:
                raise ValueError(f"{name} changes by {getattr(self, name)}, more than {most}")
        if not TS_MS_MIN <= self.ts_ms <= TS_MS_MAX:
            raise ValueError(f"ts_ms is {self.ts_ms}, and not from {TS_MS_MIN} to {TS_MS_MAX} (2000 to 2100)")
        if not 0 <= self.noted_ms <= TS_MS_MAX:
            raise ValueError(f"noted_ms is {self.noted_ms}, and not from 0 to {TS_MS_MAX}")
        for name in (*_IDS, *_DIMENSIONS):
            longest = ID_BYTES_MAX if name in _IDS else TEXT_BYTES_MAX
            if (length := len(getattr(self, name).encode())) > longest:
                raise ValueError(f"{name} has {length} bytes, more than {longest}")
        if len(self.note) > NOTE_CHARS_MAX:
            raise ValueError(f"the note has {len(self.note)} characters, more than {NOTE_CHARS_MAX}")


def correction_id(cause: Cause, org_id: str, campaign_id: str, reference: str) -> str:
    """The id of a correction: the same for whoever says the same about the same reference again.

    `reference`: what is corrected, unique within campaign and cause: an event's id and place in the log, a line of an
    invoice, a key that a person gives.
    """
    return stable_id("correction", cause, org_id, campaign_id, reference)


class Applied(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One record of topic `corrections.applied`: corrections that came into force in a partition at `now_ms`.

    Those seen before are not in it. `late`: places in `corrections` of those that fall in a window that is closed,
    which the store counts again. `refused`: places of those that would have brought a total below zero: without effect.
    """

    partition: int
    now_ms: int
    corrections: list[Correction]
    late: list[int] = []
    refused: list[int] = []


_encoder = msgspec.json.Encoder(order="deterministic")
_correction_decoder: msgspec.json.Decoder[Correction] = msgspec.json.Decoder(Correction)
_applied_decoder: msgspec.json.Decoder[Applied] = msgspec.json.Decoder(Applied)


def encode_correction(correction: Correction) -> bytes:
    """The bytes of one record of topic `corrections`."""
    return _encoder.encode(correction)


class UnknownCauseError(ValueError):
    """A correction for a cause, or of a grain, that this version does not know: a newer one wrote it."""


class _Kind(msgspec.Struct):
    cause: str
    grain: str = Grain.MOMENT.value


_kind_decoder = msgspec.json.Decoder(_Kind)


def decode_correction(record: bytes) -> Correction:
    """The correction in the bytes, checked.

    Raises UnknownCauseError on one that only a newer version knows, and one of `schemas.unreadable.UNREADABLE`, which
    that is, too, on anything else.
    """
    try:
        correction = _correction_decoder.decode(record)
    except msgspec.ValidationError:
        kind = _kind_decoder.decode(record)
        if kind.cause in frozenset(Cause) and kind.grain in frozenset(Grain):
            raise
        said = f"cause {kind.cause[:64]!r} and grain {kind.grain[:64]!r}"
        raise UnknownCauseError(f"a correction with {said}, which this version does not know") from None
    correction.check()
    return correction


def encode_applied(applied: Applied) -> bytes:
    """The bytes of one record of topic `corrections.applied`."""
    return _encoder.encode(applied)


def decode_applied(record: bytes) -> Applied:
    """The record in the bytes; raises one of `schemas.unreadable.UNREADABLE` on anything else."""
    return _applied_decoder.decode(record)
