"""Who may send what: write-only keys, browsers on an api without keys, and floods of one organisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from api.auth import ApiKeys
from api.landing import LandingHosts
from api.write_keys import WriteKeys
from ingest.letter_budget import LetterBudget
from ingest.new_names import HOUR_MS, NEW_NAMES_MAX, NewNames
from schemas import topics
from tests.api.conftest import NOW_MS, Api, Apis
from tests.support.until import until

FULL = "full-key-of-acme"
PAGE = "page-key-of-acme-1"
MAIL = "mail-key-of-acme-1"
PRICED = "priced-key-of-acme-1"
KEYS = {
    PAGE: {"organisation": "acme", "campaigns": ["shoes", "summer-*"], "hosts": ["shop.example", ".example.org"]},
    MAIL: {"organisation": "acme"},
    PRICED: {"organisation": "acme", "costs": True},
}


@pytest.fixture
def acme(apis: Apis, tmp_path: Path) -> Api:
    """An api of one organisation with a full key and write-only ones."""
    file = tmp_path / "write-keys.json"
    file.write_text(json.dumps(KEYS))
    keys = ApiKeys.parse(f"{FULL}:acme", WriteKeys.load(file))
    return apis.start(keys=keys, landing_hosts=LandingHosts.parse("shop.example"))


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "type": "impression", "ts": NOW_MS, "campaign_id": "shoes"} | changes


def lines(*events: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in events)


def pixel(api: Api, query: str, **headers: str) -> str | None:
    """Why the pixel was not recorded, or not whole."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = api.client.get(f"/api/v1/pixel.gif?{query}", headers=named)
    assert (answer.status_code, len(answer.content)) == (200, 43)
    return answer.headers.get("x-penstock-reason")


# Write-only keys


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/campaigns"), ("PUT", "/api/v1/campaigns/shoes"), ("GET", "/api/v1/decisions"),
     ("GET", "/api/v1/dead-letters"), ("POST", "/api/v1/campaigns/shoes/override")],
)  # fmt: skip
def test_a_write_only_key_reads_and_changes_nothing(acme: Api, method: str, path: str) -> None:
    answer = acme.client.request(method, path, headers={"X-API-Key": MAIL}, json={"action": "pause"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:penstock:problem:write_only_key")


def test_a_write_only_key_sends_events_in_a_header_or_in_the_address(acme: Api) -> None:
    assert acme.post(lines(event()), x_api_key=MAIL).status_code == 202
    assert acme.client.post(f"/api/v1/events?key={MAIL}", content=lines(event(2))).status_code == 202
    assert pixel(acme, f"campaign_id=shoes&key={MAIL}") is None
    assert {json.loads(record)["org_id"] for record in acme.events()} == {"acme"}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"referer": "https://shop.example/p"}, None),
        ({"origin": "https://www.example.org"}, None),
        ({"referer": "https://evil.example/shop.example"}, "foreign_page"),
        ({"origin": "null"}, "foreign_page"),
        ({}, "foreign_page"),
    ],
    ids=["its_page", "subdomain", "another_page", "sandboxed_page", "no_page"],
)
def test_a_key_bound_to_hosts_is_taken_from_their_pages_only(
    acme: Api, headers: dict[str, str], reason: str | None
) -> None:
    assert pixel(acme, f"campaign_id=shoes&key={PAGE}", **headers) == reason
    status = acme.post(lines(event()), x_api_key=PAGE, **headers).status_code
    assert status == (202 if reason is None else 403)


def test_a_key_bound_to_campaigns_is_refused_for_others_line_by_line(acme: Api) -> None:
    given = [event(1), event(2, campaign_id="summer-9"), event(3, campaign_id="hats"), event(4, type="lead")]
    del given[3]["campaign_id"]
    told = acme.post(lines(*given), x_api_key=PAGE, origin="https://shop.example", content_type="text/plain").json()
    assert [(error["line"], error["reason"]) for error in told["errors"]] == [
        (3, "foreign_campaign"),
        (4, "foreign_campaign"),
    ]
    assert told["accepted"] == 2


def test_costs_are_refused_from_a_write_only_key_unless_it_may(acme: Api) -> None:
    given = [event(1, cost_micros=5), event(2, type="conversion", revenue_micros=5), event(3, cost_micros=0)]
    told = acme.post(lines(*given), x_api_key=MAIL, content_type="text/plain").json()
    assert [(error["line"], error["field"], error["reason"]) for error in told["errors"]] == [
        (1, "cost_micros", "cost_not_allowed"),
        (2, "revenue_micros", "cost_not_allowed"),
    ]
    assert acme.post(lines(*given), x_api_key=PRICED, content_type="text/plain").json()["accepted"] == 3


def test_a_pixel_that_may_not_say_a_cost_is_recorded_without_it_and_says_so(acme: Api) -> None:
    assert pixel(acme, f"campaign_id=shoes&cost_micros=1200&key={MAIL}") == "cost_not_allowed"
    assert pixel(acme, f"campaign_id=shoes&cost_micros=1200&key={PRICED}") is None
    assert [json.loads(record).get("cost_micros") for record in acme.events()] == [None, 1200]


def test_a_full_key_in_a_page_is_refused(acme: Api) -> None:
    assert pixel(acme, f"campaign_id=shoes&key={FULL}") == "full_key_in_page"
    target = "https://shop.example/"
    click = acme.client.get(
        "/api/v1/click", params={"url": target, "campaign_id": "c", "key": FULL}, follow_redirects=False
    )
    assert (click.status_code, click.headers["x-penstock-reason"]) == (302, "full_key_in_page")
    answer = acme.post(lines(event()), x_api_key=FULL, origin="https://shop.example")
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:penstock:problem:full_key_in_page")
    assert pixel(acme, "campaign_id=shoes&cost_micros=7", x_api_key=FULL) is None
    assert [json.loads(record)["cost_micros"] for record in acme.events()] == [7]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"short": {"organisation": "acme"}}', "16 characters"),
        (json.dumps({PAGE: {"organisation": "acme", "host": []}}), "Extra inputs"),
        (json.dumps({PAGE: {}}), "organisation"),
        ("[]", "an object"),
    ],
)
def test_a_wrong_file_of_write_keys_is_told_without_a_key(tmp_path: Path, given: str, said: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(given)
    with pytest.raises(ValueError, match=said) as refused:
        WriteKeys.load(file)
    assert PAGE not in str(refused.value)
    assert "PENSTOCK_WRITE_KEYS" in str(refused.value)


def test_write_keys_need_full_keys_beside_them_and_not_the_same(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({PAGE: {"organisation": "acme"}}))
    writers = WriteKeys.load(file)
    for text in ("", f"{PAGE}:acme"):
        with pytest.raises(ValueError, match="PENSTOCK_WRITE_KEYS"):
            ApiKeys.parse(text, writers)


# An api without keys, and pages of others


@pytest.mark.parametrize(
    "marks",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"referer": "https://evil.example/"},
        {"origin": "https://evil.example"},
        {"user_agent": "Mozilla/5.0"},
    ],
    ids=["cross_site", "same_site", "link_in_a_mail", "foreign_referer", "foreign_origin", "old_browser"],
)
def test_a_page_of_another_site_spends_no_budget_on_an_api_without_keys(apis: Apis, marks: dict[str, str]) -> None:
    api = apis.start(landing_hosts=LandingHosts.parse("shop.example"))
    assert pixel(api, "campaign_id=shoes&cost_micros=90000000", **marks) == "cost_not_allowed"
    headers = {name.replace("_", "-"): value for name, value in marks.items()}
    params = {"url": "https://shop.example/", "campaign_id": "shoes", "cost_micros": "9", "revenue_micros": "9"}
    click = api.client.get("/api/v1/click", params=params, headers=headers, follow_redirects=False)
    assert click.headers["x-penstock-reason"] == "cost_not_allowed"
    assert [set(json.loads(record)) & {"cost_micros", "revenue_micros"} for record in api.events()] == [set(), set()]


def test_our_own_page_and_programs_say_costs_on_an_api_without_keys(api: Api) -> None:
    assert pixel(api, "campaign_id=shoes&cost_micros=1", sec_fetch_site="same-origin") is None
    assert pixel(api, "campaign_id=shoes&cost_micros=2", user_agent="curl/8") is None
    assert [json.loads(record)["cost_micros"] for record in api.events()] == [1, 2]


def test_a_cross_site_write_without_an_origin_is_refused_on_an_api_without_keys(api: Api) -> None:
    assert api.post(lines(event()), sec_fetch_site="cross-site").status_code == 403


# Floods


def refusals(organisation: str, bound: str) -> float:
    labels = {"organisation": organisation, "bound": bound}
    return REGISTRY.get_sample_value("penstock_organisation_refused_total", labels) or 0.0


async def test_a_flood_of_campaigns_nobody_defined_ends_at_its_own_bound(apis: Apis) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:flood,k2:other"))
    await until(lambda: api.client.get("/readyz").json()["parts"]["serving"] == "ok")
    given = [event(n, campaign_id=f"c{n}") for n in range(NEW_NAMES_MAX + 50)]
    before = refusals("flood", "new_campaigns")
    told = api.post(lines(*given), x_api_key="k1", content_type="text/plain").json()
    assert (told["accepted"], told["rejected"]) == (NEW_NAMES_MAX, 50)
    assert {error["reason"] for error in told["errors"]} == {"too_many_campaigns"}
    assert refusals("flood", "new_campaigns") - before == 50
    # What was heard of goes on, the other organisation never noticed, and what is defined comes in at once.
    assert api.post(lines(*given[:5]), x_api_key="k1", content_type="text/plain").json()["accepted"] == 5
    assert api.post(lines(event(campaign_id="new")), x_api_key="k2").status_code == 202
    api.client.put("/api/v1/campaigns/fresh", json={"name": "Fresh", "currency": "EUR"}, headers={"X-API-Key": "k1"})
    await until(lambda: api.post(lines(event(campaign_id="fresh")), x_api_key="k1").status_code == 202)


def test_names_are_heard_of_for_an_hour_and_new_ones_counted_anew() -> None:
    names = NewNames(lambda _org, name: name == "defined", new_max=2)
    assert [names.takes("o", name, 0) for name in ("a", "b", "c", "a", "defined")] == [True, True, False, True, True]
    assert [names.takes("o", name, HOUR_MS) for name in ("a", "c", "d", "e")] == [True, True, True, False]
    assert not names.takes("o", "f", 0)
    assert names.takes("o", "f", 3 * HOUR_MS)


def test_dead_letters_of_one_organisation_have_a_bound_and_what_is_dropped_is_told(apis: Apis) -> None:
    budget = LetterBudget(lambda: 0.0, burst_bytes=2_000)
    api = apis.start(keys=ApiKeys.parse("k1:flood,k2:other"), letters=budget)
    told = api.post(b"rubbish\n" * 100, x_api_key="k1", content_type="text/plain").json()
    kept = len(api.log.records(topics.DEAD_LETTERS))
    assert (told["rejected"], told["letters_dropped"], 0 < kept < 20) == (100, 100 - kept, True)
    other = api.post(b"rubbish\n", x_api_key="k2", content_type="text/plain").json()
    assert "letters_dropped" not in other
    assert len(api.log.records(topics.DEAD_LETTERS)) == kept + 1
