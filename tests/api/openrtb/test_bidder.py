"""From a request to booked spend: bid, win, billing, loss."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api.openrtb.bidder import Bidder
from api.openrtb.notices import CLICK_MS_MAX, NOTICE_MS_MAX
from api.openrtb.roster import Roster
from api.serving import MemoryServing
from schemas import topics
from schemas.campaigns import Bidding, Campaign, Creative
from schemas.control import CampaignRecord, encode_control
from schemas.log import Chunk
from tests.support.served import words_of

CREATIVE = Creative(
    creative_id="cr", width=300, height=250, markup="<a href='{click}'></a>", landing_domains=["shop.example"]
)
REQUEST = {
    "id": "r1", "at": 2, "cur": ["USD"], "tmax": 100,
    "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.1, "tagid": "top"}],
    "device": {"devicetype": 2, "geo": {"country": "USA"}}, "user": {"id": "u1"},
}  # fmt: skip


class World:
    """A bidder with one campaign, a clock and a spendable amount moved by hand."""

    def __init__(self, spendable_micros: int | None = None) -> None:
        self.now_ms = 1_790_000_000_000
        self.spendable_micros = spendable_micros
        roster, serving = Roster(), MemoryServing(lambda *_: self.spendable_micros)
        campaign = Campaign(
            campaign_id="c", name="c", currency="USD", bidding=Bidding(bid_micros=2_000_000), creatives=[CREATIVE]
        )
        record = CampaignRecord(
            key="campaign/default/c", org_id="default", campaign_id="c", version=1, changed_by="t", changed_ms=0,
            campaign=campaign.model_dump(mode="json"),
        )  # fmt: skip
        chunk = Chunk(topics.CONTROL, 0, encode_control(record) + b"\n", 0, 1)
        roster.take(chunk)
        serving.take(words_of(chunk.records()))
        self.learned: list[tuple[str, int, bool]] = []
        self.bidder = Bidder(
            roster, serving, lambda: self.now_ms, lambda: 0.5, b"secret", "http://bidder.example",
            learn=lambda *outcome: self.learned.append(outcome),
        )  # fmt: skip

    def ask(self, **changes: Any) -> dict[str, Any]:
        answer = self.bidder.answer(json.dumps({**REQUEST, **changes}).encode(), "default")
        assert answer is not None
        loaded: dict[str, Any] = json.loads(answer)
        return loaded

    def bid(self, **changes: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(**changes)["seatbid"][0]["bid"][0]
        return found


def ticket(url: str) -> str:
    return parse_qs(urlsplit(url).query)["t"][0]


def test_a_bid_carries_what_the_exchange_needs() -> None:
    made = World().bid()
    assert (made["price"], made["impid"], made["crid"], made["cid"], made["w"], made["h"], made["mtype"]) == (
        2.0, "1", "cr", "c", 300, 250, 1,
    )  # fmt: skip
    assert "${AUCTION_PRICE}" in made["nurl"]
    assert "${AUCTION_PRICE}" in made["burl"]
    assert "${AUCTION_LOSS}" in made["lurl"]


def test_billing_books_the_clearing_price_as_an_impression() -> None:
    world = World()
    booked = world.bidder.billing(ticket(world.bid()["burl"]), "1.25")
    assert booked is not None
    org_id, event = booked
    assert (org_id, event["type"], event["cost_micros"]) == ("default", "impression", 1_250)
    assert (event["country"], event["device"], event["placement_id"]) == ("US", "desktop", "top")


def test_the_same_billing_notice_twice_is_the_same_event() -> None:
    world = World()
    sealed = ticket(world.bid()["burl"])
    first = world.bidder.billing(sealed, "1.25")
    world.now_ms += 5_000
    assert world.bidder.billing(sealed, "1.25") == first


def test_a_win_is_reserved_until_it_is_billed() -> None:
    world = World()
    made = world.bid()
    campaign = ("default", "c")
    assert world.bidder.win(ticket(made["nurl"]), "1.25")
    assert world.bidder.reservations.held_micros(campaign) == 1_250
    world.bidder.booked(ticket(made["burl"]))
    assert world.bidder.reservations.held_micros(campaign) == 0


def test_bids_in_flight_stop_further_bids_before_the_budget_is_passed() -> None:
    world = World(spendable_micros=7_000)
    answers = [world.ask(id=f"r{n}") for n in range(6)]
    assert [("seatbid" in a) for a in answers] == [True, True, True, False, False, False]
    assert answers[-1]["ext"] == {"reason": "nothing_to_spend"}


def test_a_loss_frees_what_the_bid_held() -> None:
    world = World(spendable_micros=3_000)
    made = world.bid()
    assert "seatbid" not in world.ask(id="r2")
    assert world.bidder.loss(ticket(made["lurl"]))
    assert "seatbid" in world.ask(id="r3")


def test_a_test_request_reserves_nothing() -> None:
    world = World()
    assert "seatbid" in world.ask(test=1)
    assert world.bidder.reservations.held_micros(("default", "c")) == 0


@pytest.mark.parametrize("change", ["first character", "last character", "another secret", "too old"])
def test_a_notice_that_is_not_ours_books_nothing(change: str) -> None:
    world = World()
    sealed = ticket(world.bid()["burl"])
    match change:
        case "first character":
            sealed = ("A" if sealed[0] != "A" else "B") + sealed[1:]
        case "last character":
            sealed = sealed[:-4] + "AAAA"
        case "another secret":
            world.bidder.secret = b"another"
        case "too old":
            world.now_ms += NOTICE_MS_MAX + 1
    assert world.bidder.billing(sealed, "1.0") is None
    assert not world.bidder.win(sealed, "1.0")
    assert not world.bidder.loss(sealed)


def test_outcomes_of_first_price_auctions_are_learned_from() -> None:
    world = World()
    won, lost = world.bid(at=1), world.bid(at=1, id="r2")
    world.bidder.win(ticket(won["nurl"]), "2.0")
    world.bidder.loss(ticket(lost["lurl"]))
    assert world.learned == [("c", 2_000_000, True), ("c", 2_000_000, False)]


@pytest.mark.parametrize(
    ("body", "nbr"),
    [
        pytest.param(b'{"id": "r1"}', 2, id="no impressions member"),
        pytest.param(b'{"id": "r1", "imp": "x"}', 2, id="a member of the wrong type"),
    ],
)
def test_an_invalid_request_gets_its_no_bid_reason(body: bytes, nbr: int) -> None:
    answer = World().bidder.answer(body, "default")
    assert answer is not None
    assert json.loads(answer)["nbr"] == nbr


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}"], ids=["empty", "cut", "an array", "no id"])
def test_a_body_that_is_no_request_is_refused_whole(body: bytes) -> None:
    assert World().bidder.answer(body, "default") is None


def test_too_little_time_is_a_no_bid() -> None:
    assert World().ask(tmax=5)["nbr"] == 15


def test_a_click_is_counted_once_a_bid_and_goes_on_to_the_landing_page() -> None:
    world = World()
    made = world.bid()
    clicked = made["adm"].split("'")[1]
    assert clicked.startswith("http://bidder.example/openrtb2/click?t=")
    first = world.bidder.click(ticket(clicked))
    assert first is not None
    org_id, landing, event = first
    assert (org_id, landing) == ("default", "https://shop.example/")
    assert event is not None
    assert (event["type"], event["campaign_id"], event["creative_id"]) == ("click", "c", "cr")
    world.now_ms += 60_000
    again = world.bidder.click(ticket(clicked))
    assert again is not None
    assert again[2] is not None
    assert again[2]["event_id"] == event["event_id"]


def test_a_click_after_a_day_goes_on_and_is_not_counted() -> None:
    world = World()
    clicked = world.bid()["adm"].split("'")[1]
    world.now_ms += CLICK_MS_MAX + 1
    assert world.bidder.click(ticket(clicked)) == ("default", "https://shop.example/", None)


def test_a_forged_click_leads_nowhere() -> None:
    world = World()
    clicked = ticket(world.bid()["adm"].split("'")[1])
    world.bidder.secret = b"another"
    assert world.bidder.click(clicked) is None


def test_slots_of_one_request_share_what_is_left() -> None:
    slots = [{"id": str(n), "banner": {"w": 300, "h": 250}} for n in range(6)]
    answer = World(spendable_micros=7_000).ask(imp=slots)
    assert len(answer["seatbid"][0]["bid"]) == 3
