"""The fields of OpenRTB 2.6 that bidding needs; the rest of a message is let through unread.

Source: OpenRTB 2.6 (IAB Tech Lab), sections 3.2 (request), 4.2 (response), 4.4 (macros), and its no-bid reason list.
"""

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


class Format(msgspec.Struct):
    """A size of a banner."""

    w: int | None = None
    h: int | None = None


class Banner(msgspec.Struct):
    """A banner slot."""

    w: int | None = None
    h: int | None = None
    format: list[Format] = []


class Video(msgspec.Struct):
    """A video slot."""

    w: int | None = None
    h: int | None = None


class Impression(msgspec.Struct):
    """One slot on offer. `bidfloor` is CPM in `bidfloorcur`."""

    id: str
    banner: Banner | None = None
    video: Video | None = None
    tagid: str | None = None
    bidfloor: float = 0.0
    bidfloorcur: str = "USD"
    secure: int | None = None


class Geo(msgspec.Struct):
    """Where the device is; `country` is ISO 3166 alpha-3."""

    country: str | None = None
    region: str | None = None


class Device(msgspec.Struct):
    """The device."""

    ua: str | None = None
    ip: str | None = None
    ipv6: str | None = None
    ifa: str | None = None
    devicetype: int | None = None
    geo: Geo | None = None


class Publisher(msgspec.Struct):
    """Who sells."""

    id: str | None = None


class Site(msgspec.Struct):
    """The site or app."""

    id: str | None = None
    domain: str | None = None
    page: str | None = None
    publisher: Publisher | None = None


class User(msgspec.Struct):
    """The person."""

    id: str | None = None
    buyeruid: str | None = None


class BidRequest(msgspec.Struct):
    """A request to bid. `at` 1 is a first-price auction, 2 (the default) second price plus."""

    id: str
    imp: list[Impression]
    site: Site | None = None
    app: Site | None = None
    device: Device | None = None
    user: User | None = None
    test: int = 0
    at: int = 2
    tmax: int | None = None
    cur: list[str] = []
    bcat: list[str] = []
    badv: list[str] = []


class Bid(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One bid; `price` is CPM in the response's currency."""

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
    w: int
    h: int
    mtype: int
    exp: int


class SeatBid(msgspec.Struct):
    """The bids of our seat."""

    bid: list[Bid]
    seat: str


class BidResponse(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The answer: bids, or a no-bid reason."""

    id: str
    seatbid: list[SeatBid] = []
    cur: str = ""
    nbr: int | None = None
    ext: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(BidRequest)
_encoder = msgspec.json.Encoder()


def decode_request(body: bytes) -> BidRequest:
    """The request; raises msgspec.DecodeError or msgspec.ValidationError on anything that is none."""
    return _decoder.decode(body)


def encode_response(response: BidResponse) -> bytes:
    """The bytes of an answer."""
    return _encoder.encode(response)
