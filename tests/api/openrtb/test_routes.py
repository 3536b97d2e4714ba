"""The bidder over HTTP: bid, notices, and the impression they book in the log."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.background import Following
from api.wiring import OpenRtb
from tests.api.conftest import Api, Apis
from tests.support.served import say_words

REQUEST = {"id": "r1", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}], "cur": ["USD"], "tmax": 200}
CREATIVE = {
    "creative_id": "cr", "width": 300, "height": 250, "markup": "<a></a>", "landing_domains": ["s.example"],
}  # fmt: skip
CAMPAIGN = {
    "campaign_id": "c", "name": "c", "currency": "USD", "bidding": {"bid_micros": 2_000_000},
    "creatives": [CREATIVE],
}  # fmt: skip


@pytest.fixture
def bidding_api(apis: Apis) -> Api:
    api = apis.start(openrtb=OpenRtb(b"secret", "http://127.0.0.1", {}, lambda: 0.0))
    assert api.client.put("/api/v1/campaigns/c", json=CAMPAIGN).status_code in (200, 201)
    return api


def bid(api: Api) -> dict[str, Any]:
    answer = api.client.post("/openrtb2/bid", json=REQUEST)
    assert answer.status_code == 200, answer.text
    loaded: dict[str, Any] = answer.json()
    return loaded


def first_bid(api: Api) -> dict[str, Any]:
    """The definition reaches the bidder through the log: asked until it is there."""
    for _ in range(500):
        say_words(api.log)
        if "seatbid" in (answer := bid(api)):
            found: dict[str, Any] = answer["seatbid"][0]["bid"][0]
            return found
    raise AssertionError("the campaign never bid")


def notify(api: Api, url: str, price: str) -> int:
    parts = urlsplit(url.replace("${AUCTION_PRICE}", price).replace("${AUCTION_CURRENCY}", "USD"))
    return api.client.get(f"{parts.path}?{parts.query}").status_code


def test_a_billed_bid_becomes_an_impression_in_the_log(bidding_api: Api) -> None:
    made = first_bid(bidding_api)
    assert notify(bidding_api, made["nurl"], "1.5") == 204
    assert bidding_api.events() == []
    assert notify(bidding_api, made["burl"], "1.5") == 204
    [event] = [json.loads(line) for line in bidding_api.events()]
    assert (event["type"], event["campaign_id"], event["cost_micros"]) == ("impression", "c", 1_500)


def test_a_billing_notice_sent_again_has_the_same_event_id(bidding_api: Api) -> None:
    made = first_bid(bidding_api)
    for _ in range(2):
        assert notify(bidding_api, made["burl"], "1.5") == 204
    assert len({json.loads(line)["event_id"] for line in bidding_api.events()}) == 1


@pytest.mark.parametrize("notice", ["win", "billing", "loss"])
def test_a_forged_notice_is_refused_and_books_nothing(bidding_api: Api, notice: str) -> None:
    assert bidding_api.client.get(f"/openrtb2/{notice}?t=Zm9yZ2Vk&price=9").status_code == 403
    assert bidding_api.events() == []


def test_a_body_that_is_no_request_is_a_bad_request(bidding_api: Api) -> None:
    assert bidding_api.client.post("/openrtb2/bid", content=b"{").status_code == 400


def test_a_person_s_pause_stops_bids(bidding_api: Api) -> None:
    first_bid(bidding_api)
    bidding_api.client.post("/api/v1/campaigns/c/override", json={"action": "pause"})
    for _ in range(500):
        if (answer := bid(bidding_api)).get("nbr") is not None:
            assert answer["ext"] == {"reason": "nothing_to_spend"}
            return
    raise AssertionError("the pause never reached the bidder")


def test_without_its_setup_there_is_no_bidder(api: Api) -> None:
    assert api.client.post("/openrtb2/bid", json=REQUEST).status_code in (404, 405)


def test_a_click_becomes_an_event_and_a_redirect_to_the_landing_page(bidding_api: Api) -> None:
    creative = {**CREATIVE, "markup": "<a href='{click}'></a>", "landing_url": "https://s.example/sale"}
    bidding_api.client.put("/api/v1/campaigns/c", json={**CAMPAIGN, "creatives": [creative]})
    for _ in range(500):
        made = first_bid(bidding_api)
        if "/openrtb2/click" in made["adm"]:
            break
    parts = urlsplit(made["adm"].split("'")[1])
    answer = bidding_api.client.get(f"{parts.path}?{parts.query}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://s.example/sale")
    [event] = [json.loads(line) for line in bidding_api.events()]
    assert (event["type"], event["campaign_id"], event["creative_id"]) == ("click", "c", "cr")
    assert bidding_api.client.get("/openrtb2/click?t=Zm9yZ2Vk", follow_redirects=False).status_code == 403


def test_the_bidder_is_in_the_openapi_description(bidding_api: Api) -> None:
    document = bidding_api.client.get("/openapi.json").json()
    operation = document["paths"]["/openrtb2/bid"]["post"]
    taken = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    schemas = document["components"]["schemas"]
    assert {"imp", "regs", "wseat", "bcat"} <= set(schemas[taken]["properties"])
    assert {"seatbid", "nbr"} <= set(schemas[given]["properties"])
    assert {"/openrtb2/win", "/openrtb2/billing", "/openrtb2/loss", "/openrtb2/click"} <= set(document["paths"])
    named = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert all(ref.split('"')[0] in schemas for ref in named)


def test_nothing_is_bid_on_before_all_that_the_log_holds_was_read(
    bidding_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_bid(bidding_api)
    monkeypatch.setattr(Following, "ready", property(lambda _: False))
    assert "nbr" in bid(bidding_api)
