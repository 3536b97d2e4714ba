"""What a bidder reads before it bids: one small record a campaign, in topic `serving`, in Redis, over REST."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.decisions import Reason
from schemas.zones import zone_of

# Every zone's hours begin at one of these.
_QUARTER_MS: Final = 900_000


class Serving(msgspec.Struct, kw_only=True):
    """The state a bidder acts on; its JSON has every field.

    `seq` rises with every change; a lower one never replaces a higher one.
    """

    org_id: str
    campaign_id: str
    seq: int = 0
    paused: bool = False
    pause_reason: str | None = None
    # CPM bid in micros of the campaign's currency; None until a bid was set.
    bid_micros: int | None = None
    # Share of eligible auctions to take part in, 0 to 1.
    pacing_rate: float = 1.0
    # Bid modifiers, "dimension=value" -> factor, such as {"device=mobile": 1.2}.
    modifiers: dict[str, float] = {}
    currency: str = "USD"
    # What may still be spent before the next pause, already less what is in flight; None without a budget.
    spendable_micros: int | None = None
    # The definition's dates (ms): a bidder that reads an old state sees by itself that the campaign has ended.
    start_ms: int | None = None
    end_ms: int | None = None
    # Hours of the week (0 = Monday 00:00 in `time_zone`) in which it takes part; None: all.
    day_parts: list[int] | None = None
    time_zone: str = "UTC"
    decided_ms: int = 0
    decision_id: str | None = None
    # The definition and the newest override of a person that this follows.
    version: int = 0
    override_version: int = 0


class ServingWord(Serving, kw_only=True):
    """A record of topic `serving`: the newest word on a campaign, as the dataflow wrote it.

    Dates and day parts are those of the definition: hold them against the clock when you bid.
    """

    # `<org_id>/<campaign_id>`
    key: str


class _Keyed(msgspec.Struct):
    key: str


_keyed: Final = msgspec.json.Decoder(_Keyed)
_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Serving)


def key_of(state: Serving) -> str:
    """The key of a state's record.

    >>> key_of(Serving(org_id="acme", campaign_id="c1"))
    'acme/c1'
    """
    return f"{state.org_id}/{state.campaign_id}"


def encode_serving(state: Serving) -> bytes:
    """The record of topic `serving`; equal states encode equally."""
    return _encoder.encode(ServingWord(key=key_of(state), **msgspec.structs.asdict(state)))


def key_in(record: bytes) -> str:
    """The key that a record of topic `serving` names."""
    return _keyed.decode(record).key


def decode_serving(record: bytes) -> Serving:
    """The state in a record of topic `serving`; raises one of `UNREADABLE` on anything else."""
    return _decoder.decode(record)


def at(state: Serving, now_ms: int) -> Serving:
    """The state at an instant: outside its dates a campaign is paused, outside its day parts it takes part in nothing.

    A pause that was decided or set by a person keeps its reason.

    >>> at(Serving(org_id="acme", campaign_id="c1", end_ms=9), 9).pause_reason
    'ended'
    """
    reason = _pause(state, now_ms)
    if reason is not None and not state.paused:
        state = msgspec.structs.replace(state, paused=True, pause_reason=reason.value)
    if state.pacing_rate and not _in_day_part(state, now_ms):
        state = msgspec.structs.replace(state, pacing_rate=0.0)
    return state


def next_change_ms(state: Serving, now_ms: int) -> int | None:
    """When to ask again: the next instant at which `at` may answer otherwise; None: never."""
    ahead = [date for date in (state.start_ms, state.end_ms) if date is not None and date > now_ms]
    if state.day_parts is not None:
        ahead.append((now_ms // _QUARTER_MS + 1) * _QUARTER_MS)
    return min(ahead, default=None)


def _pause(state: Serving, now_ms: int) -> Reason | None:
    if state.start_ms is not None and now_ms < state.start_ms:
        return Reason.NOT_STARTED
    return Reason.ENDED if state.end_ms is not None and now_ms >= state.end_ms else None


def _in_day_part(state: Serving, now_ms: int) -> bool:
    if state.day_parts is None:
        return True
    local = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone_of(state.time_zone))
    return local.weekday() * 24 + local.hour in state.day_parts
