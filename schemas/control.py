"""Records of topic `control`: what people set. Compacted: the last record of a key wins."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.campaigns import Campaign


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


def decode_control(record: bytes) -> ControlRecord:
    """The control record in the bytes; raises one of `UNREADABLE` on anything else."""
    return _decoder.decode(record)


class OrderEntry(msgspec.Struct, kw_only=True):
    """One record of topic `events.order`: before event `offset` of this partition the clock showed `now_ms`, and
    these control records (whose campaigns have this partition as home) came into force.

    `wall_ms` is there while the machine's clock is ahead of that and not believed: events stamped by it are not refused
    for coming from the future.
    """

    offset: int
    now_ms: int
    control: list[ControlRecord] = []
    wall_ms: int | msgspec.UnsetType = msgspec.UNSET


_order_decoder = msgspec.json.Decoder(OrderEntry)


def encode_order(entry: OrderEntry) -> bytes:
    """The bytes of one record of topic `events.order`."""
    return _encoder.encode(entry)


def decode_order(record: bytes) -> OrderEntry:
    """The order entry in the bytes; raises one of `UNREADABLE` on anything else."""
    return _order_decoder.decode(record)
