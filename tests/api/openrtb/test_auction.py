"""Which campaign bids, how much, and why there is no bid."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.openrtb.answers import NoBid
from api.openrtb.auction import Candidate, Offer, decide
from api.openrtb.messages import BidRequest
from schemas.campaigns import Campaign, Creative
from schemas.serving import Serving

NOW_MS = 1_790_000_000_000
RATES = {"USD": 1.0, "EUR": 0.9}


def request(**changes: Any) -> BidRequest:
    raw: dict[str, Any] = {
        "id": "r1",
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "tagid": "top", "bidfloor": 0.5}],
        "device": {"devicetype": 4, "geo": {"country": "DEU"}},
        "cur": ["USD"],
    }
    return msgspec.convert({**raw, **changes}, BidRequest)


def candidate(name: str = "c", bid_micros: int | None = 2_000_000, **changes: Any) -> Candidate:
    state: dict[str, Any] = changes.pop("serving", {})
    spendable = changes.pop("spendable_micros", None)
    size = changes.pop("size", (300, 250))
    creative = Creative(
        creative_id=f"{name}-1", width=size[0], height=size[1], markup="<a></a>", landing_domains=[f"{name}.example"]
    )
    campaign = Campaign(
        campaign_id=name, name=name, currency=changes.pop("currency", "USD"), creatives=[creative], **changes
    )
    serving = Serving(org_id="default", campaign_id=name, bid_micros=bid_micros, **state)
    return Candidate(campaign, serving, spendable)


def bid(wanted: BidRequest, *candidates: Candidate, draw: float = 0.0, shade: Any = lambda worth, _: worth) -> Any:
    return decide(wanted, candidates, seat="default", rates=RATES, now_ms=NOW_MS, draw=lambda: draw, shade=shade)


def test_the_bid_is_what_the_campaign_serves() -> None:
    [offer] = bid(request(), candidate())
    assert (offer.price, offer.bid_micros, offer.currency, offer.impression.id) == (2.0, 2_000_000, "USD", "1")


def test_the_highest_bid_of_several_campaigns_goes_out() -> None:
    [offer] = bid(request(), candidate("low", 1_000_000), candidate("high", 3_000_000), candidate("mid", 2_000_000))
    assert offer.campaign.campaign_id == "high"


def test_every_slot_gets_its_own_bid() -> None:
    slots = [{"id": "1", "banner": {"w": 300, "h": 250}}, {"id": "2", "banner": {"w": 728, "h": 90}}]
    offers = bid(request(imp=slots), candidate("a"), candidate("b", size=(728, 90)))
    assert [(o.impression.id, o.campaign.campaign_id) for o in offers] == [("1", "a"), ("2", "b")]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"size": (728, 90)}, NoBid.NO_MATCH, id="no creative of the size"),
        pytest.param({"countries": ["US"]}, NoBid.NO_MATCH, id="another country"),
        pytest.param({"serving": {"paused": True}}, NoBid.NOTHING_TO_SPEND, id="paused"),
        pytest.param({"bid_micros": None}, NoBid.NOTHING_TO_SPEND, id="no bid set"),
        pytest.param({"spendable_micros": 2_000}, NoBid.NOTHING_TO_SPEND, id="one impression would reach the budget"),
        pytest.param({"serving": {"pacing_rate": 0.0}}, NoBid.NOTHING_TO_SPEND, id="held back by pacing"),
        pytest.param({"bid_micros": 400_000}, NoBid.BELOW_FLOOR, id="below the floor"),
        pytest.param({"currency": "JPY"}, NoBid.UNKNOWN_CURRENCY, id="a currency without a rate"),
    ],
)
def test_no_bid_has_its_reason(changed: dict[str, Any], reason: NoBid) -> None:
    assert bid(request(), candidate(**changed)) is reason


def test_a_blocked_advertiser_does_not_bid() -> None:
    assert bid(request(badv=["c.example"]), candidate()) is NoBid.NO_MATCH


def test_the_price_is_in_the_currency_of_the_request() -> None:
    [offer] = bid(request(cur=["EUR"]), candidate())
    assert (offer.price, offer.currency, offer.bid_micros) == (1.8, "EUR", 2_000_000)


def test_a_floor_in_another_currency_is_converted() -> None:
    slot = {"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 1.85, "bidfloorcur": "EUR"}
    assert bid(request(imp=[slot]), candidate()) is NoBid.BELOW_FLOOR
    slot["bidfloor"] = 1.75
    assert len(bid(request(imp=[slot]), candidate())) == 1


def test_modifiers_of_device_country_placement_and_hour_multiply() -> None:
    factors = {"device=mobile": 1.5, "country=DE": 2.0, "placement=top": 0.5, "country=US": 9.0}
    [offer] = bid(request(), candidate(serving={"modifiers": factors}))
    assert offer.price == 3.0


def test_a_first_price_bid_is_shaded_and_a_second_price_bid_is_not() -> None:
    [first] = bid(request(at=1), candidate(), shade=lambda worth, _: worth // 2)
    [second] = bid(request(at=2), candidate(), shade=lambda worth, _: worth // 2)
    assert (first.price, second.price) == (1.0, 2.0)


def test_shading_never_raises_a_bid() -> None:
    [offer] = bid(request(at=1), candidate(), shade=lambda worth, _: worth * 3)
    assert offer.price == 2.0


@given(
    bid_micros=st.integers(1, 50_000_000),
    spendable=st.integers(0, 100_000),
    factor=st.floats(0.01, 100),
    floor=st.floats(0, 20),
)
def test_a_bid_never_exceeds_what_is_left_nor_falls_below_the_floor(
    bid_micros: int, spendable: int, factor: float, floor: float
) -> None:
    slot = {"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": floor}
    one = candidate(bid_micros=bid_micros, spendable_micros=spendable, serving={"modifiers": {"device=mobile": factor}})
    made = bid(request(imp=[slot]), one)
    if not isinstance(made, NoBid):
        offer: Offer = made[0]
        assert offer.bid_micros // 1_000 < spendable
        assert offer.price >= floor - 1e-6
