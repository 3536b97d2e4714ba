"""Bid or no bid: pure, given the request, what each campaign serves, what is reserved, and one draw for pacing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from api.openrtb.answers import NoBid
from api.openrtb.countries import alpha2
from api.openrtb.fit import Fit, Rules, Slot, first_fit, fits_but_for_children, rules_of, slot_of
from api.openrtb.messages import BidRequest, Impression
from api.openrtb.terms import AGREED_PRICE, SECOND_PRICE, rate, terms_of
from schemas.campaigns import Campaign
from schemas.serving import Serving
from schemas.zones import zone_of

MICROS: Final = 1_000_000
PER_MILLE: Final = 1_000
# OpenRTB device types: 1 mobile or tablet, 2 desktop, 3 connected TV, 4 phone, 5 tablet, 6 connected device, 7 set-top.
DEVICE_TYPES: Final = {1: "mobile", 2: "desktop", 3: "tv", 4: "mobile", 5: "tablet", 6: "other", 7: "tv"}
# All modifiers together stay within these, so that no product of many segments runs away.
FACTOR_MIN: Final = 0.1
FACTOR_MAX: Final = 10.0

# Of several reasons the one that says most.
_TOLD: Final = (
    NoBid.BELOW_FLOOR,
    NoBid.NOTHING_TO_SPEND,
    NoBid.UNKNOWN_CURRENCY,
    NoBid.NO_DEAL,
    NoBid.NOT_FOR_CHILDREN,
    NoBid.INSUFFICIENT_AUCTION_TIME,
)
# Campaigns between two looks at the clock.
_LOOKS: Final = 64

# (price that the bid is worth, campaign) -> what to bid in a first-price auction.
Shade = Callable[[int, str], int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A campaign that may bid."""

    campaign: Campaign
    serving: Serving
    # What may still be spent once reservations and bids in flight are taken off; None without a budget.
    spendable_micros: int | None


class Offer(NamedTuple):
    """One bid: CPM micros in the campaign's currency, and as a CPM price in the response's."""

    campaign: Campaign
    fit: Fit
    impression: Impression
    bid_micros: int
    price: float
    currency: str
    # The auction type that it is bid under, and the deal.
    at: int
    deal_id: str | None

    @property
    def micros(self) -> int:
        """What the impression costs at most."""
        return self.bid_micros // PER_MILLE


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a request says of the person and the place, in the words of events and modifiers."""

    country: str | None
    device: str | None
    placement_id: str | None
    publisher_id: str | None


def circumstances(request: BidRequest, impression: Impression) -> Circumstances:
    """The segments of one slot."""
    device, place = request.device, request.site or request.app or request.dooh
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
    seat: str,
    rates: Mapping[str, float],
    now_ms: int,
    draw: Callable[[], float],
    shade: Shade,
    out_of_time: Callable[[], bool] = lambda: False,
) -> list[Offer] | NoBid:
    """The best offer for every slot, or why there is none at all.

    `seat` is the organisation. `rates` are units of a currency for one US dollar; a currency without a rate fits only
    itself. `draw` gives uniform numbers in [0, 1) and is used for pacing only. Second price: the bid is what the
    impression is worth; else (`at` 1, or one that is the exchange's own): what `shade` makes of that. Once
    `out_of_time`, what was found so far goes out.
    """
    if (request.wseat and seat not in request.wseat) or seat in request.bseat:
        return NoBid.SEAT_NOT_ALLOWED
    currency = request.cur[0] if request.cur else "USD"
    room = _Room(request, rules_of(request), currency, rates, now_ms, draw, shade, seat, {})
    offers: list[Offer] = []
    reasons: set[NoBid] = set()
    for impression in request.imp:
        slot, seen = slot_of(impression), circumstances(request, impression)
        best: Offer | None = None
        for number, candidate in enumerate(candidates):
            if number % _LOOKS == _LOOKS - 1 and out_of_time():
                reasons.add(NoBid.INSUFFICIENT_AUCTION_TIME)
                break
            offer = _offer(room, slot, seen, candidate)
            if isinstance(offer, NoBid):
                reasons.add(offer)
            elif best is None or _rank(offer) > _rank(best):
                best = offer
        if best is not None:
            offers.append(best)
            room.taken[best.campaign.campaign_id] = room.taken.get(best.campaign.campaign_id, 0) + best.micros
    if offers:
        return offers
    return next((reason for reason in _TOLD if reason in reasons), NoBid.NO_MATCH)


@dataclass(frozen=True, slots=True)
class _Room:
    """What is the same for every slot and campaign of a request."""

    request: BidRequest
    rules: Rules
    currency: str
    rates: Mapping[str, float]
    now_ms: int
    draw: Callable[[], float]
    shade: Shade
    seat: str
    # What this request's other slots may cost a campaign.
    taken: dict[str, int]


def _rank(offer: Offer) -> tuple[float, bool]:
    """The higher price goes out; at one price a deal before the open auction."""
    return offer.price, offer.deal_id is not None


def _offer(room: _Room, slot: Slot, seen: Circumstances, candidate: Candidate) -> Offer | NoBid:
    campaign, serving = candidate.campaign, candidate.serving
    if campaign.countries is not None and seen.country not in campaign.countries:
        return NoBid.NO_MATCH
    fit = first_fit(campaign.creatives, slot, room.rules)
    if fit is None:
        barred = fits_but_for_children(campaign.creatives, slot, room.rules)
        return NoBid.NOT_FOR_CHILDREN if barred else NoBid.NO_MATCH
    terms = terms_of(slot.impression, campaign, fit.creative, room.seat, room.request.at)
    if isinstance(terms, NoBid):
        return terms
    if serving.paused or serving.bid_micros is None or room.draw() >= serving.pacing_rate:
        return NoBid.NOTHING_TO_SPEND
    exchange = rate(campaign.currency, room.currency, room.rates)
    floor_exchange = rate(terms.currency, room.currency, room.rates)
    if exchange is None or floor_exchange is None:
        return NoBid.UNKNOWN_CURRENCY
    worth = round(serving.bid_micros * modifier(serving.modifiers, seen, room.now_ms, campaign.time_zone))
    floor = terms.floor * floor_exchange
    if terms.at == AGREED_PRICE:
        if worth / MICROS * exchange < floor:
            return NoBid.BELOW_FLOOR
        bid = round(floor / exchange * MICROS)
    else:
        bid = worth if terms.at == SECOND_PRICE else min(room.shade(worth, campaign.campaign_id), worth)
    taken = room.taken.get(campaign.campaign_id, 0)
    if candidate.spendable_micros is not None and bid // PER_MILLE + taken >= candidate.spendable_micros:
        return NoBid.NOTHING_TO_SPEND
    price = floor if terms.at == AGREED_PRICE else bid / MICROS * exchange
    if price <= 0 or price < floor:
        return NoBid.BELOW_FLOOR
    return Offer(campaign, fit, slot.impression, bid, round(price, 6), room.currency, terms.at, terms.deal_id)


def modifier(modifiers: Mapping[str, float], seen: Circumstances, now_ms: int, time_zone: str) -> float:
    """The product of the modifiers that fit, within FACTOR_MIN and FACTOR_MAX.

    >>> modifier({"device=mobile": 1.2, "country=US": 2.0}, Circumstances(None, "mobile", None, None), 0, "UTC")
    1.2
    """
    if not modifiers:
        return 1.0
    hour = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone_of(time_zone)).hour
    factor = 1.0
    for key in (f"device={seen.device}", f"country={seen.country}", f"placement={seen.placement_id}", f"hour={hour}"):
        factor *= modifiers.get(key, 1.0)
    return min(max(factor, FACTOR_MIN), FACTOR_MAX)
