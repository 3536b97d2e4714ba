"""Records of topic `control`: what people set. Compacted: the last record of a key wins."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple, get_args

import msgspec

from schemas.campaigns import Campaign
from schemas.corrections import Correction, UnknownCauseError, decode_correction


class CampaignRecord(msgspec.Struct, kw_only=True, tag="campaign", tag_field="kind"):
    """A campaign definition. `campaign` is `schemas.campaigns.Campaign` as JSON; `version` rises by one a change."""

    key: str
    org_id: str
    campaign_id: str
    version: int
    # Who changed it and when (clock of the control plane); shown, never used in decisions.
    changed_by: str
    changed_ms: int
    campaign: dict[str, Any]

    def definition(self) -> Campaign:
        """The definition, checked; raises pydantic.ValidationError when a foreign writer sent a bad one."""
        return Campaign.model_validate(self.campaign)


class OverrideRecord(msgspec.Struct, kw_only=True, tag="override", tag_field="kind"):
    """A person's word that automation respects until it is lifted.

    `action`: "pause", "resume", "set_bid" or "lift". `set_bid` carries `bid_micros`.
    """

    key: str
    org_id: str
    campaign_id: str
    version: int
    changed_by: str
    changed_ms: int
    action: str
    bid_micros: int | None = None
    note: str = ""


class DecisionWordRecord(msgspec.Struct, kw_only=True, tag="decision_word", tag_field="kind"):
    """A person's word on one decision: "approve" or "reject" a recommendation, "undo" what took effect."""

    key: str
    org_id: str
    campaign_id: str
    version: int
    changed_by: str
    changed_ms: int
    decision_id: str
    word: str


ControlRecord = CampaignRecord | OverrideRecord | DecisionWordRecord

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[ControlRecord] = msgspec.json.Decoder(ControlRecord)


def encode_control(record: ControlRecord) -> bytes:
    """The bytes of one record of topic `control`."""
    return _encoder.encode(record)


class UnknownKindError(ValueError):
    """A control record of a kind that this version does not know: a newer one wrote it."""


class _Kind(msgspec.Struct):
    kind: str


_kind_decoder = msgspec.json.Decoder(_Kind)
KINDS: Final = frozenset(str(record.__struct_config__.tag) for record in get_args(ControlRecord))


def decode_control(record: bytes) -> ControlRecord:
    """The control record in the bytes, without fields that this version does not know.

    Raises UnknownKindError on one of another kind, and one of `UNREADABLE`, which that is, too, on anything else.
    """
    try:
        return _decoder.decode(record)
    except msgspec.ValidationError:
        kind = _kind_decoder.decode(record).kind
        if kind in KINDS:
            raise
        raise UnknownKindError(f"a control record of kind {kind[:64]!r}, which this version does not know") from None


class _BareEntry(msgspec.Struct, kw_only=True):
    offset: int
    now_ms: int
    wall_ms: int | msgspec.UnsetType = msgspec.UNSET
    corrections_next: int | msgspec.UnsetType = msgspec.UNSET


class OrderEntry(msgspec.Struct, kw_only=True):
    """One record of topic `events.order`: before event `offset` of this partition the clock showed `now_ms`, and
    these control records (whose campaigns have this partition as home) came into force.

    `wall_ms` is there while the machine's clock is ahead of that and not believed: events stamped by it are not refused
    for coming from the future. `corrections` is there where there are any, of campaigns whose home this partition is:
    they came into force after the control records, in this order. `corrections_next` is the offset in topic
    `corrections` behind all that entries have brought so far; absent while there were none.
    """

    offset: int
    now_ms: int
    control: list[ControlRecord] = []
    wall_ms: int | msgspec.UnsetType = msgspec.UNSET
    corrections: list[Correction] | msgspec.UnsetType = msgspec.UNSET
    corrections_next: int | msgspec.UnsetType = msgspec.UNSET


class ReadEntry(NamedTuple):
    """An entry with what of it is in force here, and how many of its records only a newer version knows."""

    entry: OrderEntry
    # Control records of unknown kinds.
    skipped: int
    # Corrections for unknown causes.
    skipped_corrections: int = 0


class _RawEntry(msgspec.Struct):
    control: list[msgspec.Raw]
    corrections: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_order_decoder = msgspec.json.Decoder(OrderEntry)
_bare_decoder = msgspec.json.Decoder(_BareEntry)
_raw_decoder = msgspec.json.Decoder(_RawEntry)


def encode_order(entry: OrderEntry) -> bytes:
    """The bytes of one record of topic `events.order`."""
    return _encoder.encode(entry)


def decode_order(record: bytes) -> OrderEntry:
    """The order entry in the bytes, as far as this version knows it; raises one of `UNREADABLE` on anything else."""
    return read_order(record).entry


def read_order(record: bytes) -> ReadEntry:
    """The order entry in the bytes: what only a newer version knows of it is skipped, and the rest is in force.

    What was skipped stays in the log as it is. Raises one of `UNREADABLE` on what is no entry.
    """
    try:
        return ReadEntry(_order_decoder.decode(record), 0)
    except msgspec.ValidationError:
        bare, raw = _bare_decoder.decode(record), _raw_decoder.decode(record)
    known: list[ControlRecord] = []
    for one in raw.control:
        with suppress(UnknownKindError):
            known.append(decode_control(bytes(one)))
    given = [] if isinstance(raw.corrections, msgspec.UnsetType) else raw.corrections
    corrections: list[Correction] = []
    for one in given:
        with suppress(UnknownCauseError):
            corrections.append(decode_correction(bytes(one)))
    entry = OrderEntry(
        offset=bare.offset,
        now_ms=bare.now_ms,
        control=known,
        wall_ms=bare.wall_ms,
        corrections=corrections or msgspec.UNSET,
        corrections_next=bare.corrections_next,
    )
    return ReadEntry(entry, len(raw.control) - len(known), len(given) - len(corrections))
