"""What the bidder answers. Source: OpenRTB 2.6 (IAB Tech Lab), section 4.2, and its list of no-bid reasons."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec


class NoBid(IntEnum):
    """No-bid reasons: below 500 the standard's own, from 500 on ours, as the standard leaves to each bidder."""

    TECHNICAL_ERROR = 1
    INVALID_REQUEST = 2
    INSUFFICIENT_AUCTION_TIME = 15
    # No running campaign has a creative, a country and a currency that fit.
    NO_MATCH = 500
    BELOW_FLOOR = 501
    # Everything that would fit is paused, out of budget, or held back by pacing.
    NOTHING_TO_SPEND = 502
    UNKNOWN_CURRENCY = 503
    # `wseat` does not name the organisation, or `bseat` does.
    SEAT_NOT_ALLOWED = 504
    # COPPA applies, and nothing that would fit is marked as fit for children.
    NOT_FOR_CHILDREN = 505
    # A private auction without a deal of ours.
    NO_DEAL = 506


class Bid(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One bid; `price` is CPM in the response's currency. `mtype` 1 banner, 2 video, 3 audio, 4 native."""

    id: str
    impid: str
    price: float
    nurl: str
    burl: str
    lurl: str
    adm: str
    adomain: list[str]
    cid: str
    crid: str
    mtype: int
    exp: int
    w: int | None = None
    h: int | None = None
    cattax: int = 1
    cat: list[str] = []
    attr: list[int] = []
    apis: list[int] = []
    protocol: int | None = None
    dur: int | None = None
    language: str | None = None
    dealid: str | None = None


class SeatBid(msgspec.Struct):
    """The bids of our seat, the organisation."""

    bid: list[Bid]
    seat: str


class BidResponse(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The answer: bids, or a no-bid reason."""

    id: str
    seatbid: list[SeatBid] = []
    cur: str = ""
    nbr: int | None = None
    ext: dict[str, Any] | None = None


_encoder = msgspec.json.Encoder()


def encode_response(response: BidResponse) -> bytes:
    """The bytes of an answer."""
    return _encoder.encode(response)
