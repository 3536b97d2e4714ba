"""One event, as a row: the contract on the wire. What comes by the million is decoded by `schemas.decode` instead."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import msgspec


class EventType(IntEnum):
    """What happened; the number is the code in `EventBatch.type`."""

    IMPRESSION = 1
    CLICK = 2
    CONVERSION = 3
    LEAD = 4

    @property
    def wire(self) -> str:
        """The name on the wire.

        >>> EventType.CLICK.wire
        'click'
        """
        return self.name.lower()


CHANNELS: Final = ("search", "social", "display", "video", "email", "sms", "push", "native", "other")
PLATFORMS: Final = ("google", "facebook", "tiktok", "linkedin", "twitter", "openrtb", "other")
DEFAULT_ORG: Final = "default"

EVENT_ID_PATTERN: Final = r"^[A-Za-z0-9_.:\-]{1,64}$"
# One event on the wire; the largest real ones are under 4 KiB.
EVENT_BYTES_MAX: Final = 64 * 1024
# Any text field; longer is refused, so that one event cannot fill an index.
TEXT_BYTES_MAX: Final = 2_048
# Identifiers that become keys of state.
ID_BYTES_MAX: Final = 128
# 2000-01-01 and 2100-01-01 UTC: outside, a timestamp is in the wrong unit.
TS_MS_MIN: Final = 946_684_800_000
TS_MS_MAX: Final = 4_102_444_800_000
# An event this far ahead of the clock would drag its campaign's watermark into the future.
FUTURE_MS_MAX: Final = 3_600_000
# 1,000,000 currency units for one event: more is a wrong unit.
MICROS_MAX: Final = 10**12

# Optional text fields, in the order in which `schemas.decode` and the ClickHouse table have them.
TEXT_FIELDS: Final = (
    "ad_group_id",
    "creative_id",
    "placement_id",
    "publisher_id",
    "keyword",
    "channel",
    "platform",
    "user_id",
    "device_id",
    "ip",
    "user_agent",
    "country",
    "region",
    "device",
    "referrer",
    "impression_id",
    "click_id",
)


class Lead(msgspec.Struct, omit_defaults=True):
    """What a person left in a form."""

    email: str | None = None
    name: str | None = None
    phone: str | None = None
    company: str | None = None
    source: str | None = None
    source_details: Any = None
    form_seconds: float | None = None
    consent: Any = None


class Event(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One event, valid by construction when it comes from `schemas.decode.decode_row`."""

    event_id: str
    type: str
    ts: int
    org_id: str = DEFAULT_ORG
    campaign_id: str | None = None
    ad_group_id: str | None = None
    creative_id: str | None = None
    placement_id: str | None = None
    publisher_id: str | None = None
    keyword: str | None = None
    channel: str | None = None
    platform: str | None = None
    user_id: str | None = None
    device_id: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    country: str | None = None
    region: str | None = None
    device: str | None = None
    referrer: str | None = None
    impression_id: str | None = None
    click_id: str | None = None
    cost_micros: int = 0
    revenue_micros: int = 0
    lead: Lead | None = None
    # Unknown fields, kept as they came and never rejected.
    extra: dict[str, Any] | None = None
