"""Around every route: hosts, keys for metrics, pages of other sites, headers, addresses that are none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.auth import ApiKeys
from api.perimeter import COLLECTOR_PATHS, CorsOrigins
from api.write_keys import WriteKeys, WriteScope
from tests.api.conftest import NOW_MS, Api, Apis

WRITERS = WriteKeys(((b"page-key", WriteScope(organisation="acme")),))
KEYS = ApiKeys.parse("k1:acme", WRITERS)
SHOP = "https://shop.example"
EVENT = b'{"event_id":"e1","type":"click","campaign_id":"c","ts":%d}' % NOW_MS
EVERYWHERE = [
    "/",
    "/index.html",
    "/assets/nope.js",
    "/favicon.svg",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/nope",
    "/api/v1/campaigns",
    "/api/v1/campaigns/nope",
    "/api/v1/pixel.gif",
    "/api/v1/click",
    "/api/v1/live",
]


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:penstock:problem:")


# Hosts


@pytest.mark.parametrize("path", EVERYWHERE)
def test_an_api_without_keys_answers_under_its_own_name_only(api: Api, path: str) -> None:
    answer = api.client.get(path, headers={"host": "rebound.example"})
    assert (answer.status_code, code(answer)) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_every_name_of_this_machine_is_its_own(api: Api, host: str) -> None:
    assert api.client.get("/metrics", headers={"host": host}).status_code == 200


# Keys for metrics


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/metrics", None, 401),
        ("/metrics", "wrong", 401),
        ("/metrics", "page-key", 403),
        ("/metrics", "k1", 200),
        ("/metrics", "scrape", 200),
        ("/openapi.json", None, 401),
        ("/openapi.json", "k1", 200),
        ("/openapi.json", "scrape", 200),
        ("/api/v1/campaigns", "scrape", 401),
        ("/healthz", None, 200),
        ("/", None, (200, 503)),
    ],
)
def test_metrics_and_the_description_ask_for_a_key_where_there_are_keys(
    apis: Apis, path: str, key: str | None, status: Any
) -> None:
    api = apis.start(keys=KEYS, metrics_key="scrape")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert api.client.get(path, headers=headers).status_code in (status if isinstance(status, tuple) else (status,))


def test_metrics_of_several_organisations_are_nobodys(apis: Apis) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:acme,k2:other"), metrics_key="scrape")
    answer = api.client.get("/metrics", headers={"X-API-Key": "k1"})
    assert (answer.status_code, code(answer)) == (403, "metrics_key")
    assert api.client.get("/metrics", headers={"X-API-Key": "scrape"}).status_code == 200
    assert api.client.get("/openapi.json", headers={"X-API-Key": "k1"}).status_code == 200


# Headers


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_says_that_it_is_what_it_says(api: Api, path: str) -> None:
    answer = api.client.get(path, follow_redirects=False)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert ("referrer-policy" in answer.headers) == (path not in COLLECTOR_PATHS)


def test_a_defect_says_it_as_well(apis: Apis) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("a defect")

    answer = apis.start(rate_limit=Broken()).post(EVENT)
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (500, "nosniff")


# Pages of other sites


def preflight(api: Api, path: str, origin: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    answer: httpx.Response = api.client.options(path, headers=headers)
    return answer


@pytest.fixture
def shop(apis: Apis) -> Api:
    """An api that pages of one shop may send events to."""
    return apis.start(keys=KEYS, cors=CorsOrigins.parse(SHOP, has_write_keys=True))


def test_a_listed_page_is_told_that_it_may_send_events_and_may_read_the_answer(shop: Api) -> None:
    asked = preflight(shop, "/api/v1/events", SHOP)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, SHOP)
    assert "x-api-key" in asked.headers["access-control-allow-headers"]
    sent = shop.post(EVENT, x_api_key="page-key", origin=SHOP)
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (202, SHOP)
    refused = shop.post(EVENT, x_api_key="wrong", origin=SHOP)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP)
    for answer in (asked, sent, refused):
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/api/v1/events", "https://evil.example"),
        ("/api/v1/events", "https://shop.example.evil.example"),
        ("/api/v1/events", "null"),
        ("/api/v1/campaigns", SHOP),
        ("/api/v1/campaigns/shoes", SHOP),
        ("/metrics", SHOP),
    ],
)
def test_other_pages_and_other_addresses_are_not_opened(shop: Api, path: str, origin: str) -> None:
    answer = preflight(shop, path, origin)
    assert answer.status_code in (401, 403, 405)
    assert "access-control-allow-origin" not in answer.headers


def test_every_page_is_taken_where_that_is_said(apis: Apis) -> None:
    api = apis.start(keys=KEYS, cors=CorsOrigins.parse("*", has_write_keys=True))
    assert preflight(api, "/api/v1/events", "https://any.example").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in preflight(api, "/api/v1/campaigns", SHOP).headers


@pytest.mark.parametrize(
    ("text", "has_write_keys"),
    [("*", False), (SHOP, False), ("shop.example", True), ("https://shop.example/page", True), ("ftp://a", True)],
)
def test_origins_that_make_no_sense_are_refused_at_the_start(text: str, *, has_write_keys: bool) -> None:
    with pytest.raises(ValueError, match="PENSTOCK_CORS_ORIGINS"):
        CorsOrigins.parse(text, has_write_keys=has_write_keys)


def test_without_the_setting_no_page_is_opened(apis: Apis) -> None:
    api = apis.start(keys=KEYS)
    assert preflight(api, "/api/v1/events", SHOP).status_code == 405
    assert "access-control-allow-origin" not in api.post(EVENT, x_api_key="page-key", origin=SHOP).headers


# Addresses that are none


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/nope", "/v1/nope", "/api/nope", "/api/v1/nope", "/openrtb2/nope", "/metrics/x", "/assets", "/campaigns/c1"],
)
def test_an_unknown_address_is_a_404_whatever_the_method(api: Api, method: str, path: str) -> None:
    answer = api.client.request(method, path)
    assert (answer.status_code, code(answer)) == (404, "unknown_path")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v1/events", "POST"),
        ("DELETE", "/api/v1/campaigns", "GET"),
        ("POST", "/api/v1/decisions/d1", "GET"),
        ("GET", "/api/v1/decisions/d1/undo", "POST"),
        ("POST", "/metrics", "GET"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(api: Api, method: str, path: str, allow: str) -> None:
    answer = api.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"], code(answer)) == (405, allow, "wrong_method")


def test_the_live_socket_says_what_it_is(api: Api) -> None:
    answer = api.client.get("/api/v1/live")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
