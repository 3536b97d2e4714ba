"""Collectors in the manner of others: keys where their clients have them, answers as they expect, one collector."""

from __future__ import annotations

import base64
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.auth import ApiKeys
from api.perimeter import CorsOrigins
from api.rate_limit import MemoryRateLimit
from api.write_keys import WriteKeys, WriteScope
from ingest.dead_letter_replay import corrected, read_letters, readmit
from ingest.formats.mapping import EventRule, FormatMapping, Mapping
from schemas.log import LogUnavailableError
from tests.api.conftest import NOW_MS, Api, Apis, RefusingSink

PAGE_KEY, MONEY_KEY = "page-key-of-acme-1", "money-key-of-acme-1"
WRITERS = WriteKeys(
    (
        (PAGE_KEY.encode(), WriteScope(organisation="acme", campaigns=("shoes",))),
        (MONEY_KEY.encode(), WriteScope(organisation="acme", costs=True)),
    )
)
KEYS = ApiKeys.parse("full-key:acme", WRITERS)
TRACK = {"event": "Ad Clicked", "messageId": "m1", "userId": "u", "properties": {"campaign_id": "shoes"}}
ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m2",
    "properties": {"campaign_id": "shoes", "revenue": 5},
}
GA4 = {"client_id": "1.2", "events": [{"name": "ad_click", "params": {"campaign_id": "shoes"}}]}
SNOWPLOW_EVENT = {"e": "se", "se_ca": "ad", "se_ac": "click", "se_la": "shoes", "eid": "e-1", "dtm": str(NOW_MS)}
SNOWPLOW = {"schema": "iglu:x", "data": [SNOWPLOW_EVENT]}
CLOUD = {
    "specversion": "1.0",
    "id": "1",
    "source": "/s",
    "type": "click",
    "data": {"campaign_id": "shoes", "ts": NOW_MS},
}
CSV = f"event_id,type,ts,campaign_id,cost_micros\ne1,click,{NOW_MS},shoes,5\n"
TP2 = "/com.snowplowanalytics.snowplow/tp2"


def basic(key: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}


def rows(api: Api) -> list[dict[str, Any]]:
    return [json.loads(record) for record in api.events()]


@pytest.fixture
def keyed(apis: Apis) -> Api:
    return apis.start(keys=KEYS)


# Answers


def test_segment_is_answered_with_success_and_the_event_is_in_the_log(api: Api) -> None:
    answer = api.client.post("/v1/track", json=TRACK)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert [(row["event_id"], row["type"], row["campaign_id"]) for row in rows(api)] == [("m1", "click", "shoes")]


@pytest.mark.parametrize("call", ["identify", "page", "p", "screen", "group", "alias"])
def test_calls_that_are_no_events_are_taken_and_not_recorded(api: Api, call: str) -> None:
    answer = api.client.post(f"/v1/{call}", json={"userId": "u", "messageId": "m"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert "x-penstock-reason" not in answer.headers
    assert rows(api) == []


def test_ga4_is_answered_with_nothing(api: Api) -> None:
    answer = api.client.post("/mp/collect?measurement_id=G-1&api_secret=none", json=GA4)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [row["campaign_id"] for row in rows(api)] == ["shoes"]


def test_snowplow_posts_and_gets_its_pixel(api: Api) -> None:
    assert api.client.post(TP2, json=SNOWPLOW, headers={"user-agent": "UA"}).text == "ok"
    answer = api.client.get("/i", params={**SNOWPLOW_EVENT, "eid": "e-2"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in answer.headers["cache-control"]
    assert [(row["event_id"], row["ip"]) for row in rows(api)] == [("e-1", "testclient"), ("e-2", "testclient")]
    assert rows(api)[0]["user_agent"] == "UA"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/cloudevents+json; charset=utf-8"}, json.dumps(CLOUD)),
        ({"content-type": "application/cloudevents-batch+json"}, json.dumps([CLOUD])),
        (
            {"content-type": "application/json", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s",
             "ce-type": "click"},
            json.dumps(CLOUD["data"]),
        ),
        ({"content-type": "text/csv"}, CSV),
    ],
    ids=["structured", "batch", "binary", "csv"],
)  # fmt: skip
def test_the_collector_takes_other_bodies_and_answers_by_item(api: Api, headers: dict[str, str], body: str) -> None:
    answer = api.client.post("/api/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert rows(api)[0]["campaign_id"] == "shoes"
    packed = headers | {"content-encoding": "gzip"}
    answer = api.client.post("/api/v1/events", content=gzip.compress(body.encode()), headers=packed)
    assert answer.status_code == 202
    assert rows(api)[0] == rows(api)[1]


def test_a_parquet_file_can_be_uploaded(api: Api) -> None:
    table = {"event_id": ["e1", "e2"], "type": ["click"] * 2, "ts": [NOW_MS] * 2, "campaign_id": ["shoes", "x" * 200]}
    body = io.BytesIO()
    pq.write_table(pa.table(table), body)
    headers = {"content-type": "application/vnd.apache.parquet"}
    answer = api.client.post("/api/v1/events", content=body.getvalue(), headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert [(each["line"], each["field"]) for each in answer.json()["errors"]] == [(2, "campaign_id")]
    assert [row["event_id"] for row in rows(api)] == ["e1"]
    answer = api.client.post("/api/v1/events", content=b"PAR1" * 9, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:penstock:problem:unreadable")


def test_items_are_refused_by_their_own_numbers(api: Api) -> None:
    wrong = {**CLOUD, "id": "2", "data": {"campaign_id": 5, "ts": NOW_MS}}
    body = [CLOUD, {**CLOUD, "specversion": "0.3"}, wrong]
    headers = {"content-type": "application/cloudevents-batch+json"}
    answer = api.client.post("/api/v1/events", content=json.dumps(body), headers=headers).json()
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    assert [(e["line"], e["field"], e["reason"]) for e in answer["errors"]] == [
        (2, "specversion", "bad_value"),
        (3, "campaign_id", "wrong_type"),
    ]


def test_a_refused_item_is_a_dead_letter_with_the_item_that_can_be_corrected(api: Api) -> None:
    answer = api.client.post("/v1/track", json={**TRACK, "properties": {}})
    assert (answer.status_code, answer.headers["x-penstock-reason"]) == (200, "missing_field")
    (letter,) = read_letters(api.log)
    assert (letter.reason, letter.field) == ("missing_field", "campaign_id")
    assert json.loads(letter.raw)["_item"] == {**TRACK, "properties": {}}
    assert letter.source.startswith("segment/")
    assert readmit(api.log, letter, corrected(letter, {"campaign_id": "shoes"}), now_ms=NOW_MS).accepted == 1
    (row,) = rows(api)
    assert (row["campaign_id"], row["event_id"], "_item" in row) == ("shoes", "m1", False)


@pytest.mark.parametrize("path", ["/v1/batch", "/mp/collect", TP2])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"[" * 100_000, 400, "nested_too_deep"),
        (b" " * (5 * 2**20), 413, "too_large"),
    ],
    ids=["empty", "cut", "deep", "long"],
)
def test_a_body_that_cannot_be_read_is_a_problem(api: Api, path: str, body: bytes, status: int, code: str) -> None:
    answer = api.client.post(path, content=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:penstock:problem:{code}")


def test_a_log_that_is_away_makes_trackers_come_again(apis: Apis) -> None:
    api = apis.start(sink=RefusingSink(LogUnavailableError("away")))
    answers = [
        api.client.post("/v1/track", json=TRACK),
        api.client.post("/mp/collect", json=GA4),
        api.client.post(TP2, json=SNOWPLOW),
    ]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    pixel = api.client.get("/i", params=SNOWPLOW_EVENT)
    assert (pixel.status_code, pixel.headers["x-penstock-reason"]) == (200, "log_unavailable")


def test_every_format_is_under_the_one_rate_of_its_organisation(apis: Apis) -> None:
    api = apis.start(keys=KEYS, rate_limit=MemoryRateLimit(0.5, lambda: 0.0))
    assert api.client.post("/v1/track", json=TRACK, headers=basic("full-key")).status_code == 200
    answer = api.client.post(f"/mp/collect?api_secret={PAGE_KEY}", json=GA4)
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def test_what_is_ignored_counts_against_the_rate_too(apis: Apis) -> None:
    api = apis.start(keys=KEYS, rate_limit=MemoryRateLimit(0.5, lambda: 0.0))
    page = {"batch": [{"type": "page", "messageId": f"m{n}"} for n in range(5)]}
    assert api.client.post("/v1/batch", json=page, headers=basic("full-key")).status_code == 200
    assert api.client.post("/v1/batch", json=page, headers=basic("full-key")).status_code == 429


def test_rows_that_a_mapping_does_not_name_are_counted_in_the_answer(apis: Apis) -> None:
    columns = FormatMapping(name=("Event",), events={"press": EventRule(type="click")})
    api = apis.start(event_mapping=Mapping(csv=columns))
    answer = api.client.post("/api/v1/events", content="Event,x\nscroll,1\n", headers={"content-type": "text/csv"})
    assert (answer.status_code, answer.json()["accepted"], answer.json()["ignored"]) == (202, 0, 1)


@pytest.mark.parametrize("path", ["/v1/batch", "/beacon/v1/batch"])
def test_rudderstack_asks_beforehand_and_may_bring_its_headers(apis: Apis, path: str) -> None:
    api = apis.start(keys=KEYS, cors=CorsOrigins(frozenset({"https://shop.example"})))
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    answer = api.client.options(path, headers=asked | {"access-control-request-headers": "anonymousid,authorization"})
    allowed = answer.headers["access-control-allow-headers"]
    assert (answer.status_code, "anonymousid" in allowed, "authorization" in allowed) == (204, True, True)


def test_a_beacon_brings_its_write_key_in_the_address(keyed: Api) -> None:
    batch = {"batch": [{"type": "track", **TRACK}]}
    assert keyed.client.post(f"/beacon/v1/batch?writeKey={PAGE_KEY}", json=batch).status_code == 200
    assert len(rows(keyed)) == 1


# Keys


@pytest.mark.parametrize("key", ["full-key", PAGE_KEY])
def test_segment_libraries_bring_their_write_key_by_basic_authorisation(keyed: Api, key: str) -> None:
    assert keyed.client.post("/v1/track", json=TRACK, headers=basic(key)).status_code == 200
    assert rows(keyed)[0]["org_id"] == "acme"


def test_a_page_brings_its_write_key_in_the_body(keyed: Api) -> None:
    assert keyed.client.post("/v1/t", json=TRACK | {"writeKey": PAGE_KEY}).status_code == 200
    assert keyed.client.post("/v1/batch", json={"batch": [], "writeKey": PAGE_KEY}).status_code == 200
    assert len(rows(keyed)) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/track", TRACK, 401),
        ("/v1/track", TRACK | {"writeKey": "wrong"}, 401),
        ("/v1/track", TRACK | {"writeKey": "full-key"}, 403),
        ("/mp/collect", GA4, 401),
        ("/mp/collect?api_secret=wrong", GA4, 401),
        ("/mp/collect?api_secret=full-key", GA4, 403),
        (TP2, SNOWPLOW, 401),
        (f"{TP2}?key=full-key", SNOWPLOW, 403),
        (f"{TP2}?key={PAGE_KEY}", SNOWPLOW, 200),
        (TP2, {"data": [SNOWPLOW_EVENT | {"aid": PAGE_KEY}]}, 200),
        (f"/mp/collect?api_secret={PAGE_KEY}", GA4, 204),
    ],
)
def test_a_wrong_key_is_401_and_a_full_key_that_a_page_shows_is_403(
    keyed: Api, path: str, body: dict[str, Any], status: int
) -> None:
    assert keyed.client.post(path, json=body).status_code == status
    assert len(rows(keyed)) == (status < 300)


def test_without_a_key_in_the_head_a_body_is_small_and_plain(keyed: Api) -> None:
    large = TRACK | {"writeKey": PAGE_KEY, "context": {"x": "x" * 600_000}}
    assert keyed.client.post("/v1/track", json=large).status_code == 413
    packed = gzip.compress(json.dumps(TRACK | {"writeKey": PAGE_KEY}).encode())
    assert keyed.client.post("/v1/track", content=packed, headers={"content-encoding": "gzip"}).status_code == 401
    with_key = basic(PAGE_KEY) | {"content-encoding": "gzip"}
    assert keyed.client.post("/v1/track", content=packed, headers=with_key).status_code == 200


def test_a_write_key_without_costs_records_an_order_without_its_revenue(keyed: Api) -> None:
    answers = [
        keyed.client.post("/v1/batch", json={"batch": [ORDER | {"messageId": key}]}, headers=basic(key))
        for key in (PAGE_KEY, MONEY_KEY, "full-key")
    ]
    assert [answer.headers.get("x-penstock-reason") for answer in answers] == ["cost_not_allowed", None, None]
    assert [row.get("revenue_micros") for row in rows(keyed)] == [None, 5_000_000, 5_000_000]


def test_a_write_key_bound_to_campaigns_sends_no_others(keyed: Api) -> None:
    other = TRACK | {"properties": {"campaign_id": "hats"}}
    answer = keyed.client.post("/v1/track", json=other, headers=basic(PAGE_KEY))
    assert (answer.status_code, answer.headers["x-penstock-reason"]) == (200, "foreign_campaign")
    assert rows(keyed) == []


def test_the_pixel_takes_its_key_from_the_application(keyed: Api) -> None:
    assert keyed.client.get("/i", params=SNOWPLOW_EVENT).headers["x-penstock-reason"] == "unauthorised"
    assert "x-penstock-reason" not in keyed.client.get("/i", params=SNOWPLOW_EVENT | {"aid": PAGE_KEY}).headers
    assert len(rows(keyed)) == 1


# Addresses


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/track/x", "/mp", "/mp/collect/x", f"{TP2}x", "/i/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_is_none_is_404(api: Api, path: str, method: str) -> None:
    answer = api.client.request(method, path)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:penstock:problem:unknown_path")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v1/track", "POST"), ("PUT", "/v1/batch", "POST"), ("GET", "/mp/collect", "POST"),
     ("GET", TP2, "POST"), ("POST", "/i", "GET"), ("DELETE", "/v1/identify", "POST")],
)  # fmt: skip
def test_a_wrong_method_is_405_and_says_which(api: Api, method: str, path: str, allow: str) -> None:
    answer = api.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


def test_the_routes_are_in_the_description(api: Api) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    assert {"/v1/track", "/v1/batch", "/mp/collect", TP2, "/i"} <= set(paths)
    content = paths["/api/v1/events"]["post"]["requestBody"]["content"]
    assert {"application/cloudevents+json", "application/cloudevents-batch+json", "text/csv"} | {
        "application/vnd.apache.parquet"
    } <= set(content)
