"""Campaigns over REST."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.auth import ApiKeys
from schemas import topics
from schemas.control import decode_control
from tests.api.conftest import NOW_MS, Api, Apis
from tests.support.served import say_words
from tests.support.until import until

SHOES = {"name": "Shoes", "currency": "EUR", "daily_budget_micros": 5_000_000, "bidding": {"bid_micros": 900_000}}
PATH = "/api/v1/campaigns/shoes"


def put(api: Api, **changes: Any) -> httpx.Response:
    return api.client.put(PATH, json=SHOES | changes)


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:penstock:problem:")


async def test_a_definition_is_stored_and_told_to_the_dataflow(api: Api) -> None:
    answer = put(api)
    assert (answer.status_code, answer.json()["version"], answer.headers["etag"]) == (200, 1, '"1"')
    assert api.client.get(PATH).json() == answer.json()
    await until(lambda: api.log.records(topics.CONTROL))
    (record,) = map(decode_control, api.log.records(topics.CONTROL))
    assert (record.campaign_id, record.version, record.changed_by) == ("shoes", 1, "local")


def test_campaigns_are_listed_page_by_page(api: Api) -> None:
    for name in ("b", "a", "c"):
        api.client.put(f"/api/v1/campaigns/{name}", json=SHOES)
    first = api.client.get("/api/v1/campaigns?limit=2").json()
    rest = api.client.get(f"/api/v1/campaigns?limit=2&after={first['next_after']}").json()
    ids = [[row["campaign"]["campaign_id"] for row in page["campaigns"]] for page in (first, rest)]
    assert (ids, rest["next_after"]) == ([["a", "b"], ["c"]], None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currency": "EURO"}, "currency"),
        ({"daily_budget_micros": 0}, "daily_budget_micros"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"budget": 5}, "budget"),
        ({"bidding": {"strategy": "target_cpa"}}, "bidding"),
    ],
    ids=["currency", "budget_of_nothing", "unknown_zone", "unknown_field", "goal_without_target"],
)
def test_a_bad_definition_is_refused_by_field(api: Api, changes: dict[str, Any], field: str) -> None:
    answer = put(api, **changes)
    assert (answer.status_code, code(answer)) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert api.client.get(PATH).status_code == 404


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [({"campaign_id": "hats"}, "wrong_campaign_id"), ({"id": "hats"}, "wrong_campaign_id"),
     ({"org_id": "acme"}, "wrong_org_id")],
    ids=["other_id", "other_short_id", "other_organisation"],
)  # fmt: skip
def test_a_definition_of_another_campaign_than_addressed_is_refused(
    api: Api, changes: dict[str, Any], wrong: str
) -> None:
    answer = put(api, **changes)
    assert (answer.status_code, code(answer)) == (422, wrong)


def test_a_change_of_what_someone_else_changed_meanwhile_is_a_conflict(api: Api) -> None:
    put(api)
    put(api, name="Boots")
    stale = api.client.put(PATH, json=SHOES | {"name": "Hats"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, code(stale), stale.headers["etag"]) == (412, "version_conflict", '"2"')
    fresh = api.client.patch(PATH, json={"name": "Hats"}, headers={"If-Match": '"2"'})
    assert (fresh.status_code, fresh.json()["version"]) == (200, 3)
    assert api.client.patch(PATH, json={}, headers={"If-Match": "latest"}).status_code == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_every_change_of_another_version_than_named_is_a_412_with_the_one_in_force(api: Api, method: str) -> None:
    put(api)
    put(api, name="Boots")
    body = {"json": SHOES} if method != "DELETE" else {}
    answer = api.client.request(method, PATH, headers={"If-Match": '"1"'}, **body)
    assert (answer.status_code, answer.headers["etag"]) == (412, '"2"')
    assert api.client.get(PATH).json()["campaign"]["name"] == "Boots"
    assert api.client.request(method, PATH, headers={"If-Match": '"2"'}, **body).status_code == 200


async def test_an_archived_campaign_is_not_served_nor_listed_and_can_be_taken_out_again(api: Api) -> None:
    put(api)
    first = api.client.delete(PATH)
    assert (first.status_code, first.json()["version"], first.headers["etag"]) == (200, 2, '"2"')
    assert first.json()["campaign"]["status"] == "archived"
    # Once more changes nothing.
    assert api.client.delete(PATH).json()["version"] == 2
    assert api.client.get("/api/v1/campaigns").json()["campaigns"] == []
    (kept,) = api.client.get("/api/v1/campaigns?archived=true").json()["campaigns"]
    assert kept["campaign"]["campaign_id"] == "shoes"

    def paused() -> bool:
        say_words(api.log)
        return bool(api.client.get(f"{PATH}/serving").json().get("paused"))

    await until(paused)
    assert api.client.get(f"{PATH}/serving").json()["pause_reason"] == "paused_by_person"
    event = b'{"event_id":"e1","type":"click","campaign_id":"shoes","ts":%d}' % NOW_MS
    assert api.post(event).status_code == 202
    api.client.patch(PATH, json={"status": "active"})
    assert len(api.client.get("/api/v1/campaigns").json()["campaigns"]) == 1


def test_only_what_there_is_can_be_archived_and_a_name_that_looks_so_is_not(api: Api) -> None:
    assert api.client.delete(PATH).status_code == 404
    put(api, name='the "status":"archived" campaign')
    assert len(api.client.get("/api/v1/campaigns").json()["campaigns"]) == 1


def test_a_patch_changes_what_it_names_and_null_takes_away(api: Api) -> None:
    put(api)
    patch = {"daily_budget_micros": None, "total_budget_micros": 7_000_000, "bidding": {"mode": "recommend"}}
    campaign = api.client.patch(PATH, json=patch).json()["campaign"]
    assert (campaign["daily_budget_micros"], campaign["total_budget_micros"]) == (None, 7_000_000)
    assert (campaign["bidding"]["mode"], campaign["bidding"]["bid_micros"]) == ("recommend", 900_000)
    assert code(api.client.patch(PATH, json={"name": None})) == "invalid_request"


def test_history_names_who_changed_what_and_any_version_can_be_put_back(apis: Apis) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:default"))
    api.client.headers["Authorization"] = "Bearer k1"
    put(api)
    api.client.put(PATH, json=SHOES | {"name": "Boots"}, headers={"X-Penstock-User": "ana\x07"})
    changes = api.client.get(f"{PATH}/changes").json()
    assert [change["version"] for change in changes] == [2, 1]
    assert changes[0]["changed_by"].startswith("ana (key ")
    assert (changes[0]["before"]["name"], changes[0]["after"]["name"]) == ("Shoes", "Boots")
    back = api.client.post(f"{PATH}/revert", json={"to_version": 1}).json()
    assert (back["version"], back["campaign"]["name"]) == (3, "Shoes")
    assert code(api.client.post(f"{PATH}/revert", json={"to_version": 9})) == "unknown_version"


def test_the_currency_stays(api: Api) -> None:
    put(api)
    assert code(put(api, currency="USD")) == "fixed_field"


def test_organisations_do_not_see_each_other(apis: Apis) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:acme,k2:other"))
    api.client.put(PATH, json=SHOES, headers={"X-API-Key": "k1"})
    other = {"X-API-Key": "k2"}
    assert api.client.get(PATH, headers={"X-API-Key": "k1"}).status_code == 200
    assert api.client.get(PATH, headers=other).status_code == 404
    assert api.client.get("/api/v1/campaigns", headers=other).json()["campaigns"] == []
    assert api.client.post(f"{PATH}/override", json={"action": "pause"}, headers=other).status_code == 404
    assert api.client.get("/api/v1/campaigns").status_code == 401


@pytest.mark.parametrize(
    ("override", "status"),
    [
        ({"action": "pause", "note": "out of stock"}, 200),
        ({"action": "set_bid", "bid_micros": 5}, 200),
        ({"action": "set_bid"}, 422),
        ({"action": "pause", "bid_micros": 5}, 422),
        ({"action": "explode"}, 422),
        ({"action": "lift", "more": 1}, 422),
    ],
    ids=["pause", "set_bid", "set_bid_needs_a_bid", "pause_takes_none", "unknown_action", "unknown_field"],
)
def test_overrides(api: Api, override: dict[str, Any], status: int) -> None:
    put(api)
    answer = api.client.post(f"{PATH}/override", json=override)
    assert answer.status_code == status
    given = [row["action"] for row in api.client.get(f"{PATH}/overrides").json()]
    assert given == ([override["action"]] if status == 200 else [])


@pytest.mark.parametrize(
    ("method", "path", "status", "wrong"),
    [
        ("GET", "/api/v1/campaigns/nothing", 404, "unknown_campaign"),
        ("GET", "/api/v1/nothing", 404, "unknown_path"),
        ("DELETE", "/api/v1/campaigns", 405, "wrong_method"),
        ("GET", "/api/v1/events", 405, "wrong_method"),
        ("GET", "/api/v1/campaigns?limit=0", 422, "invalid_request"),
        ("GET", "/api/v1/campaigns/a%20b", 422, "invalid_request"),
    ],
    ids=["unknown_campaign", "unknown_path", "wrong_method", "post_only", "bad_query", "bad_id"],
)
def test_every_error_is_a_problem(api: Api, method: str, path: str, status: int, wrong: str) -> None:
    answer = api.client.request(method, path)
    assert (answer.status_code, code(answer), answer.json()["status"]) == (status, wrong, status)
