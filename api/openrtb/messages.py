"""The fields of OpenRTB 2.6 requests that bidding needs; the rest of a message is let through unread.

Source: OpenRTB 2.6 (IAB Tech Lab), section 3.2. Answers are in `api/openrtb/answers.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Format(msgspec.Struct):
    """A size of a banner, in device-independent pixels."""

    w: int | None = None
    h: int | None = None


class Banner(msgspec.Struct):
    """A banner slot. `btype` are banner ad types and `battr` creative attributes that it does not take."""

    w: int | None = None
    h: int | None = None
    format: list[Format] = []
    btype: list[int] = []
    battr: list[int] = []
    mimes: list[str] = []
    api: list[int] = []


class DurationFloor(msgspec.Struct, rename={"at_least": "mindur", "at_most": "maxdur"}):
    """A floor (CPM) for creatives of a length in seconds."""

    at_least: int | None = None
    at_most: int | None = None
    bidfloor: float = 0.0


class Video(msgspec.Struct):
    """A video slot; durations in seconds. `protocols` and `api` are what it takes, `battr` what it does not."""

    mimes: list[str] = []
    minduration: int | None = None
    maxduration: int | None = None
    rqddurs: list[int] = []
    protocols: list[int] = []
    linearity: int | None = None
    w: int | None = None
    h: int | None = None
    battr: list[int] = []
    api: list[int] = []
    mincpmpersec: float = 0.0
    durfloors: list[DurationFloor] = []


class Audio(msgspec.Struct):
    """An audio slot; as a video slot without a picture."""

    mimes: list[str] = []
    minduration: int | None = None
    maxduration: int | None = None
    rqddurs: list[int] = []
    protocols: list[int] = []
    battr: list[int] = []
    api: list[int] = []
    mincpmpersec: float = 0.0
    durfloors: list[DurationFloor] = []


class Native(msgspec.Struct):
    """A native slot; `request` is a Native 1.2 request as JSON text (an object is taken, too)."""

    request: Any = None
    ver: str | None = None
    api: list[int] = []
    battr: list[int] = []


class Deal(msgspec.Struct):
    """A private deal. `at` 1 first price, 2 second price plus, 3: `bidfloor` is the agreed price."""

    id: str
    bidfloor: float = 0.0
    bidfloorcur: str = "USD"
    at: int | None = None
    wseat: list[str] = []
    wadomain: list[str] = []


class Pmp(msgspec.Struct):
    """Deals on a slot; with `private_auction` 1 nothing but these."""

    private_auction: int = 0
    deals: list[Deal] = []


class Impression(msgspec.Struct):
    """One slot on offer. `bidfloor` is CPM in `bidfloorcur`; `secure` 1 takes nothing that is loaded over http."""

    id: str
    banner: Banner | None = None
    video: Video | None = None
    audio: Audio | None = None
    native: Native | None = None
    pmp: Pmp | None = None
    tagid: str | None = None
    bidfloor: float = 0.0
    bidfloorcur: str = "USD"
    secure: int | None = None


class Geo(msgspec.Struct):
    """Where the device is; `country` is ISO 3166 alpha-3."""

    country: str | None = None
    region: str | None = None


class Device(msgspec.Struct):
    """The device. `lmt` and `dnt` 1: the person does not want to be followed."""

    ua: str | None = None
    ip: str | None = None
    ipv6: str | None = None
    ifa: str | None = None
    devicetype: int | None = None
    geo: Geo | None = None
    lmt: int | None = None
    dnt: int | None = None


class Publisher(msgspec.Struct):
    """Who sells."""

    id: str | None = None


class Site(msgspec.Struct):
    """The site, the app, or the screen (`dooh`)."""

    id: str | None = None
    domain: str | None = None
    page: str | None = None
    publisher: Publisher | None = None


class User(msgspec.Struct):
    """The person."""

    id: str | None = None
    buyeruid: str | None = None


class RegsExt(msgspec.Struct):
    """Where OpenRTB 2.5 had them."""

    gdpr: int | None = None
    us_privacy: str | None = None
    gpp: str | None = None
    gpp_sid: list[int] | None = None


class Regs(msgspec.Struct):
    """Laws that apply. `coppa` 1: a child; `us_privacy` such as 1YYN; `gpp_sid`: sections of `gpp` in force."""

    coppa: int | None = None
    gdpr: int | None = None
    us_privacy: str | None = None
    gpp: str | None = None
    gpp_sid: list[int] | None = None
    ext: RegsExt | None = None


class BidRequest(msgspec.Struct):
    """A request to bid. `at` 1 is a first-price auction, 2 (the default) second price plus, others first price to us.

    Our seat is the organisation: `wseat` must name it and `bseat` must not.
    """

    id: str
    imp: list[Impression]
    site: Site | None = None
    app: Site | None = None
    dooh: Site | None = None
    device: Device | None = None
    user: User | None = None
    regs: Regs | None = None
    test: int = 0
    at: int = 2
    tmax: int | None = None
    wseat: list[str] = []
    bseat: list[str] = []
    cur: list[str] = []
    wlang: list[str] = []
    acat: list[str] = []
    bcat: list[str] = []
    cattax: int = 1
    badv: list[str] = []


_decoder = msgspec.json.Decoder(BidRequest)


def decode_request(body: bytes) -> BidRequest:
    """The request; raises msgspec.DecodeError or msgspec.ValidationError on anything that is none."""
    return _decoder.decode(body)
