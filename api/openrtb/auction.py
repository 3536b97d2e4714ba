"""Bid or no bid: pure, given the request, what each campaign serves, what is reserved, and one draw for pacing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from api.openrtb.countries import alpha2
from api.openrtb.messages import BidRequest, Impression, NoBid
from schemas.campaigns import Campaign, Creative
from schemas.serving import Serving

MICROS: Final = 1_000_000
PER_MILLE: Final = 1_000
# OpenRTB device types: 1 mobile or tablet, 2 desktop, 3 connected TV, 4 phone, 5 tablet, 6 connected device, 7 set-top.
DEVICE_TYPES: Final = {1: "mobile", 2: "desktop", 3: "tv", 4: "mobile", 5: "tablet", 6: "other", 7: "tv"}
# All modifiers together stay within these, so that no product of many segments runs away.
FACTOR_MIN: Final = 0.1
FACTOR_MAX: Final = 10.0

# (price that the bid is worth, campaign) -> what to bid in a first-price auction.
Shade = Callable[[int, str], int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A campaign that may bid."""

    campaign: Campaign
    serving: Serving
    # What may still be spent once reservations and bids in flight are taken off; None without a budget.
    spendable_micros: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """One bid: CPM micros in the campaign's currency, and as a CPM price in the response's."""

    campaign: Campaign
    creative: Creative
    impression_id: str
    bid_micros: int
    price: float
    currency: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a request says of the person and the place, in the words of events and modifiers."""

    country: str | None
    device: str | None
    placement_id: str | None
    publisher_id: str | None


def circumstances(request: BidRequest, impression: Impression) -> Circumstances:
    """The segments of one slot."""
    device, place = request.device, request.site or request.app
    publisher = place.publisher.id if place is not None and place.publisher is not None else None
    return Circumstances(
        country=alpha2(device.geo.country) if device is not None and device.geo is not None else None,
        device=DEVICE_TYPES.get(device.devicetype or 0) if device is not None else None,
        placement_id=impression.tagid,
        publisher_id=publisher or (place.domain if place is not None else None),
    )


def decide(
    request: BidRequest,
    candidates: Sequence[Candidate],
    *,
    rates: Mapping[str, float],
    now_ms: int,
    draw: Callable[[], float],
    shade: Shade,
) -> list[Offer] | NoBid:
    """The best offer for every slot, or why there is none at all.

    `rates` are units of a currency for one US dollar; a currency without a rate fits only itself. `draw` gives uniform
    numbers in [0, 1) and is used for pacing only. Second price: the bid is what the impression is worth; first price
    (`at` 1): what `shade` makes of that.
    """
    currency = request.cur[0] if request.cur else "USD"
    offers: list[Offer] = []
    reasons: set[NoBid] = set()
    for impression in request.imp:
        best: Offer | None = None
        for candidate in candidates:
            offer = _offer(request, impression, candidate, currency, rates, now_ms, draw, shade)
            if isinstance(offer, NoBid):
                reasons.add(offer)
            elif best is None or offer.price > best.price:
                best = offer
        if best is not None:
            offers.append(best)
    if offers:
        return offers
    told = (NoBid.BELOW_FLOOR, NoBid.NOTHING_TO_SPEND, NoBid.UNKNOWN_CURRENCY)
    return next((reason for reason in told if reason in reasons), NoBid.NO_MATCH)


def _offer(
    request: BidRequest, impression: Impression, candidate: Candidate, currency: str, rates: Mapping[str, float],
    now_ms: int, draw: Callable[[], float], shade: Shade,
) -> Offer | NoBid:  # fmt: skip
    campaign, serving = candidate.campaign, candidate.serving
    seen = circumstances(request, impression)
    creative = _creative(campaign, impression, request.badv)
    if creative is None or (campaign.countries is not None and seen.country not in campaign.countries):
        return NoBid.NO_MATCH
    if serving.paused or serving.bid_micros is None or draw() >= serving.pacing_rate:
        return NoBid.NOTHING_TO_SPEND
    exchange = rate(campaign.currency, currency, rates)
    floor_exchange = rate(impression.bidfloorcur, currency, rates)
    if exchange is None or floor_exchange is None:
        return NoBid.UNKNOWN_CURRENCY
    worth = round(serving.bid_micros * modifier(serving.modifiers, seen, now_ms, campaign.time_zone))
    bid = min(shade(worth, campaign.campaign_id), worth) if request.at == 1 else worth
    if candidate.spendable_micros is not None and bid // PER_MILLE >= candidate.spendable_micros:
        return NoBid.NOTHING_TO_SPEND
    price = bid / MICROS * exchange
    if price <= 0 or price < impression.bidfloor * floor_exchange:
        return NoBid.BELOW_FLOOR
    return Offer(campaign, creative, impression.id, bid, round(price, 6), currency)


def rate(given: str, wanted: str, rates: Mapping[str, float]) -> float | None:
    """Units of `wanted` for one of `given`; None where either has no rate.

    >>> rate("USD", "EUR", {"USD": 1.0, "EUR": 0.9}), rate("XTS", "XTS", {}), rate("XTS", "EUR", {"EUR": 0.9})
    (0.9, 1.0, None)
    """
    if given == wanted:
        return 1.0
    if given not in rates or wanted not in rates:
        return None
    return rates[wanted] / rates[given]


def modifier(modifiers: Mapping[str, float], seen: Circumstances, now_ms: int, time_zone: str) -> float:
    """The product of the modifiers that fit, within FACTOR_MIN and FACTOR_MAX.

    >>> modifier({"device=mobile": 1.2, "country=US": 2.0}, Circumstances(None, "mobile", None, None), 0, "UTC")
    1.2
    """
    if not modifiers:
        return 1.0
    hour = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(ZoneInfo(time_zone)).hour
    factor = 1.0
    for key in (f"device={seen.device}", f"country={seen.country}", f"placement={seen.placement_id}", f"hour={hour}"):
        factor *= modifiers.get(key, 1.0)
    return min(max(factor, FACTOR_MIN), FACTOR_MAX)


def _creative(campaign: Campaign, impression: Impression, blocked: Sequence[str]) -> Creative | None:
    """The first creative whose size fits the slot and whose advertiser is not blocked."""
    sizes: set[tuple[int | None, int | None]] = set()
    if impression.banner is not None:
        sizes = {(size.w, size.h) for size in impression.banner.format}
        sizes.add((impression.banner.w, impression.banner.h))
    for creative in campaign.creatives:
        fits = impression.video is not None if creative.kind == "video" else (creative.width, creative.height) in sizes
        if fits and not set(creative.landing_domains) & set(blocked):
            return creative
    return None
