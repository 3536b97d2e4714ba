"""Pixel and click redirect."""

from __future__ import annotations

import json

import pytest

from api.auth import ApiKeys
from api.landing import LandingHosts
from api.write_keys import WriteKeys, WriteScope
from schemas.log import LogUnavailableError
from tests.api.conftest import NOW_MS, Api, Apis, RefusingSink

HOSTS = LandingHosts.parse("shop.example, .example.org")


def test_the_pixel_is_a_gif_that_no_cache_keeps_and_records_an_impression(api: Api) -> None:
    answer = api.client.get(
        "/api/v1/pixel.gif?campaign_id=shoes&creative_id=k1&cost_micros=1200&utm=x",
        headers={"user-agent": "Mozilla/5.0", "referer": "http://127.0.0.1/", "sec-fetch-site": "same-origin"},
    )
    assert (answer.status_code, answer.headers["content-type"], len(answer.content)) == (200, "image/gif", 43)
    assert answer.content.startswith(b"GIF89a")
    assert "no-store" in answer.headers["cache-control"]
    assert "x-penstock-reason" not in answer.headers
    (row,) = [json.loads(record) for record in api.events()]
    assert len(row.pop("event_id")) == 32
    assert row == {
        "type": "impression",
        "ts": NOW_MS,
        "ip": "testclient",
        "user_agent": "Mozilla/5.0",
        "referrer": "http://127.0.0.1/",
        "campaign_id": "shoes",
        "creative_id": "k1",
        "cost_micros": 1200,
        "utm": "x",
    }


@pytest.mark.parametrize(
    ("query", "reason"),
    [("", "missing_field"), ("campaign_id=c&cost_micros=much", "wrong_type"), ("campaign_id=c&type=x", "unknown_type")],
    ids=["no_campaign", "cost_in_words", "unknown_type"],
)
def test_a_refused_pixel_is_still_a_pixel_and_says_why(api: Api, query: str, reason: str) -> None:
    answer = api.client.get(f"/api/v1/pixel.gif?{query}")
    assert (answer.status_code, len(answer.content)) == (200, 43)
    assert answer.headers["x-penstock-reason"] == reason
    assert api.events() == []
    assert len(api.log.records("events.dlq")) == 1


def test_a_pixel_is_answered_while_the_log_is_away(apis: Apis) -> None:
    api = apis.start(sink=RefusingSink(LogUnavailableError("away")))
    answer = api.client.get("/api/v1/pixel.gif?campaign_id=c")
    assert (answer.status_code, answer.headers["x-penstock-reason"]) == (200, "log_unavailable")


def test_a_pixel_may_carry_its_key_in_the_address(apis: Apis) -> None:
    writers = WriteKeys(((b"w1", WriteScope(organisation="acme")),))
    api = apis.start(keys=ApiKeys.parse("k1:acme", writers))
    assert api.client.get("/api/v1/pixel.gif?campaign_id=c").headers["x-penstock-reason"] == "unauthorised"
    assert "x-penstock-reason" not in api.client.get("/api/v1/pixel.gif?campaign_id=c&key=w1").headers
    (row,) = [json.loads(record) for record in api.events()]
    assert (row["org_id"], "key" in row) == ("acme", False)


def test_a_click_is_recorded_and_sent_on(apis: Apis) -> None:
    api = apis.start(landing_hosts=HOSTS)
    target = "https://www.example.org/shoes?size=42"
    params = {"url": target, "campaign_id": "shoes", "impression_id": "i1"}
    answer = api.client.get("/api/v1/click", params=params, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, target)
    (row,) = [json.loads(record) for record in api.events()]
    assert (row["type"], row["impression_id"], "url" in row) == ("click", "i1", False)


def test_a_visitor_is_sent_on_even_when_the_click_cannot_be_recorded(apis: Apis) -> None:
    api = apis.start(landing_hosts=HOSTS)
    answer = api.client.get("/api/v1/click?url=https://shop.example/", follow_redirects=False)
    assert (answer.status_code, answer.headers["x-penstock-reason"]) == (302, "missing_field")


def test_a_click_to_elsewhere_is_refused_and_not_recorded(apis: Apis) -> None:
    api = apis.start(landing_hosts=HOSTS)
    answer = api.client.get("/api/v1/click?url=https://evil.example/&campaign_id=c", follow_redirects=False)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:penstock:problem:landing_host")
    assert api.events() == []


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/",
        "http://shop.example:8080/x?y#z",
        "https://SHOP.example/",
        "https://example.org/",
        "https://a.b.example.org/",
    ],
    ids=["exact", "port_and_path", "capitals", "the_domain_of_a_suffix", "below_a_suffix"],
)
def test_allowed_landing_pages(url: str) -> None:
    assert HOSTS.allow(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/local",
        "//shop.example/",
        "javascript:alert(1)//shop.example",
        "ftp://shop.example/",
        "https://www.shop.example/",
        "https://evilexample.org/",
        "https://shop.example.evil.test/",
        "https://shop.example@evil.test/",
        "https://evil.test\\@shop.example/",
        "https://evil.test/\\shop.example",
        "https:shop.example",
        "https:/shop.example/",
        "https:///shop.example/",
        "https://shop.example\t/",
        "https://shop.example\r\nSet-Cookie: a=b",
        "https://ｓhop.example/",
        "https://shop.example:port/",
        "https://[::1/",
        "https://shop.example/" + "x" * 2_048,
    ],
    ids=[
        "nothing", "path", "scheme_relative", "javascript", "ftp", "below_an_exact_host", "ends_like_a_suffix",
        "begins_like_a_host", "user_name", "backslash_user_name", "backslash", "no_slashes", "one_slash",
        "three_slashes", "tab", "header_injection", "look_alike_letters", "port_in_words", "broken_address", "endless",
    ],
)  # fmt: skip
def test_tricks_to_land_elsewhere_are_refused(url: str) -> None:
    assert not HOSTS.allow(url)


def test_no_landing_hosts_allow_nothing() -> None:
    assert not LandingHosts().allow("https://shop.example/")


@pytest.mark.parametrize("entry", ["https://shop.example", "shop example", "*"], ids=["url", "space", "star"])
def test_a_landing_host_that_is_no_host_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        LandingHosts.parse(entry)
