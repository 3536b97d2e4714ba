"""On which terms a campaign may bid for a slot: a deal of its own, or the open auction. Pure.

Source: OpenRTB 2.6, sections 3.2.11 (Pmp) and 3.2.12 (Deal).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from api.openrtb.answers import NoBid
from api.openrtb.fit import is_below
from api.openrtb.messages import Deal, Impression
from schemas.campaigns import Campaign, Creative

FIRST_PRICE: Final = 1
SECOND_PRICE: Final = 2
# Of a deal: its floor is the price.
AGREED_PRICE: Final = 3


class Terms(NamedTuple):
    """How a bid is made: the floor (CPM) in the floor's currency, the auction type, the deal."""

    floor: float
    currency: str
    at: int
    deal_id: str | None = None


def terms_of(imp: Impression, campaign: Campaign, creative: Creative, seat: str, at: int) -> Terms | NoBid:
    """The first deal that is the campaign's, else the open auction where there is one."""
    if imp.pmp is not None:
        for deal in imp.pmp.deals:
            if deal.id in campaign.deals and _open_to(deal, creative, seat):
                return Terms(deal.bidfloor, deal.bidfloorcur, deal.at if deal.at is not None else at, deal.id)
    if campaign.deals_only or (imp.pmp is not None and imp.pmp.private_auction == 1):
        return NoBid.NO_DEAL
    return Terms(_floor(imp, creative), imp.bidfloorcur, at)


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


def _open_to(deal: Deal, creative: Creative, seat: str) -> bool:
    if deal.wseat and seat not in deal.wseat:
        return False
    domains = frozenset(domain.lower() for domain in deal.wadomain)
    return not domains or all(is_below(domain, domains) for domain in creative.landing_domains)


def _floor(imp: Impression, creative: Creative) -> float:
    """The slot's floor; for video and audio also what it asks for a length."""
    slot = imp.video if creative.kind == "video" else imp.audio if creative.kind == "audio" else None
    if slot is None or creative.duration_s is None:
        return imp.bidfloor
    floors = [imp.bidfloor, slot.mincpmpersec * creative.duration_s]
    length = creative.duration_s
    floors += [
        each.bidfloor
        for each in slot.durfloors
        if (each.at_least or 0) <= length and (each.at_most is None or length <= each.at_most)
    ]
    return max(floors)
