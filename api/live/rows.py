"""A campaign's row as browsers get it: counters as arrays, so that ten thousand rows are a small message."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.kpis import Counters
from schemas.live import CampaignLive

# The order of the numbers in an array of counters; told to the browser in the configuration.
COUNTERS: Final = tuple(field.name for field in msgspec.structs.fields(Counters))

# The state of a campaign that a person put away; to the dataflow it is one that a person paused.
ARCHIVED: Final = "archived"

_encoder = msgspec.json.Encoder()


def encode_row(row: CampaignLive, event_ms: int, *, is_archived: bool = False) -> bytes:
    """The row as JSON. `event_ms`: the log clock when an event last changed its counters."""
    return _encoder.encode(
        {
            "id": row.campaign_id,
            "name": row.name,
            "currency": row.currency,
            "zone": row.time_zone,
            "state": ARCHIVED if is_archived else row.state,
            "reason": row.state_reason,
            "version": row.version,
            "watermark_ms": row.watermark_ms,
            "now_ms": row.now_ms,
            "event_ms": event_ms,
            "today": _numbers(row.today),
            "total": _numbers(row.total),
            "rolling": {span: _numbers(counters) for span, counters in row.rolling.items()},
            "windows": [(start_ms, _numbers(counters)) for start_ms, counters in row.windows],
            "budgets": row.budgets,
            "bidding": row.bidding,
        }
    )


def with_spark(row: bytes, spark: tuple[int, list[int]]) -> bytes:
    """The encoded row with its spark line: sent once, then the browser goes on from `windows`."""
    return row[:-1] + b',"spark":' + _encoder.encode(spark) + b"}"


def _numbers(c: Counters) -> tuple[int, ...]:
    return (c.impressions, c.clicks, c.conversions, c.leads, c.spend_micros, c.revenue_micros, c.reach)


def encode(value: Any) -> bytes:
    """Any part of a frame as JSON."""
    return _encoder.encode(value)
