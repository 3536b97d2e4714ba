"""Taking events over HTTP."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
import zstandard

from api.auth import ApiKeys
from api.body import BODY_BYTES_MAX, LINES_MAX
from api.collector import ERRORS_MAX
from ingest.group_commit import Backlogged
from schemas.log import LogUnavailableError
from schemas.topics import partition_of
from tests.api.conftest import NOW_MS, Api, Apis, RefusingSink


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    fields = {"event_id": f"e{number}", "type": "impression", "ts": NOW_MS, "campaign_id": "shoes"}
    return fields | changes


def line(number: int = 1, **changes: Any) -> bytes:
    return json.dumps(event(number, **changes)).encode()


LINES = line(1) + b"\n" + line(2)
PRETTY = json.dumps(event(1), indent=2).encode()


@pytest.mark.parametrize(
    ("body", "content_type", "accepted"),
    [
        (line(), "application/json", 1),
        (PRETTY, "application/json", 1),
        (json.dumps([event(1), event(2)]).encode(), "application/json; charset=utf-8", 2),
        (json.dumps([event(1), event(2)], indent=1).encode(), "application/json", 2),
        (LINES, "application/x-ndjson", 2),
        (LINES + b"\r\n\r\n", "text/plain", 2),
        (LINES, "application/json", 2),
        (b"\xef\xbb\xbf" + line(), "application/json", 1),
        (line(), "", 1),
    ],
    ids=[
        "one_event",
        "one_event_over_lines",
        "array",
        "array_over_lines",
        "ndjson",
        "plain_text_with_blank_lines",
        "ndjson_sent_as_json",
        "byte_order_mark",
        "no_content_type",
    ],
)
def test_events_come_as_one_an_array_or_lines(api: Api, body: bytes, content_type: str, accepted: int) -> None:
    answer = api.post(body, content_type=content_type)
    assert (answer.status_code, answer.json()["accepted"]) == (202, accepted)
    assert [json.loads(record)["event_id"] for record in api.events()] == [f"e{n + 1}" for n in range(accepted)]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(LINES)),
        ("gzip", gzip.compress(line(1) + b"\n") + gzip.compress(line(2))),
        ("zstd", zstandard.compress(LINES)),
        ("zstd", zstandard.compress(line(1) + b"\n") + zstandard.compress(line(2))),
        ("identity", LINES),
    ],
    ids=["gzip", "gzip_members", "zstd", "zstd_frames", "identity"],
)
def test_compressed_events_are_taken(api: Api, encoding: str, body: bytes) -> None:
    answer = api.post(body, content_type="application/x-ndjson", content_encoding=encoding)
    assert answer.json() == {"accepted": 2, "rejected": 0, "errors": [], "errors_truncated": False}


_BOMB = b"\n" * (BODY_BYTES_MAX + 1)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{" * (BODY_BYTES_MAX + 1), {}, 413, "too_large"),
        (gzip.compress(_BOMB), {"content_encoding": "gzip"}, 413, "too_large"),
        (zstandard.compress(_BOMB), {"content_encoding": "zstd"}, 413, "too_large"),
        (b"\n" * (LINES_MAX + 1), {"content_type": "text/plain"}, 413, "too_many_lines"),
        (line(), {"content_type": "application/xml"}, 415, "unsupported_media_type"),
        (line(), {"content_encoding": "br"}, 415, "unsupported_encoding"),
        (line(), {"content_encoding": "gzip"}, 400, "bad_encoding"),
        (gzip.compress(LINES)[:-9], {"content_encoding": "gzip"}, 400, "bad_encoding"),
        (zlib.compress(LINES), {"content_encoding": "gzip"}, 400, "bad_encoding"),
        (line(), {"content_encoding": "zstd"}, 400, "bad_encoding"),
        (b"[1,", {"content_type": "application/json"}, 400, "malformed_json"),
        (b"", {"content_type": "application/json"}, 400, "empty"),
        (b" \n\n", {"content_type": "text/plain"}, 400, "empty"),
    ],
    ids=[
        "too_many_bytes",
        "gzip_bomb",
        "zstd_bomb",
        "too_many_lines",
        "foreign_content_type",
        "foreign_encoding",
        "not_gzip",
        "gzip_cut_short",
        "zlib_is_not_gzip",
        "not_zstd",
        "broken_array",
        "nothing",
        "blank_lines_only",
    ],
)
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(
    api: Api, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = api.post(body, **headers)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:penstock:problem:{code}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert api.events() == []


def test_refused_lines_are_named_and_the_rest_goes_through(api: Api) -> None:
    body = b"\n".join([line(1), b"not json", b"", line(2, type="click", ts=1), line(3)])
    answer = api.post(body, content_type="application/x-ndjson", x_request_id="r1")
    told = answer.json()
    assert (answer.status_code, told["accepted"], told["rejected"]) == (202, 2, 2)
    assert [(error["line"], error["field"], error["reason"]) for error in told["errors"]] == [
        (2, "", "malformed_json"),
        (4, "ts", "ts_out_of_range"),
    ]
    letters = [json.loads(record) for record in api.log.records("events.dlq")]
    assert (letters[0]["source"], letters[0]["raw"]) == ("http/r1:2", "not json")


def test_nothing_accepted_is_a_400_with_the_reasons(api: Api) -> None:
    answer = api.post(b'{"event_id":"e1"}\n[]', content_type="text/plain")
    assert (answer.status_code, answer.json()["rejected"]) == (400, 2)


def test_a_long_list_of_errors_is_cut_and_says_so(api: Api) -> None:
    answer = api.post(b"x\n" * (ERRORS_MAX + 1), content_type="text/plain").json()
    assert (answer["rejected"], len(answer["errors"]), answer["errors_truncated"]) == (ERRORS_MAX + 1, ERRORS_MAX, True)
    assert len(api.log.records("events.dlq")) == ERRORS_MAX + 1


def test_an_event_goes_to_the_partition_of_its_campaign_and_a_lead_without_one_to_that_of_its_id(apis: Apis) -> None:
    api = apis.start(partitions=4)
    leads = b"\n".join(line(n, type="lead", campaign_id=None) for n in range(20))
    events = b"\n".join(line(n, campaign_id=f"c{n}") for n in range(20))
    assert api.post(leads + b"\n" + events, content_type="text/plain").json()["accepted"] == 40
    for partition in range(4):
        rows = [json.loads(record) for record in api.events(partition)]
        assert rows
        assert {partition_of(row["campaign_id"] or row["event_id"], 4) for row in rows} == {partition}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer k1"}, 202),
        ({"authorization": "bearer k1"}, 202),
        ({"x_api_key": "k1"}, 202),
        ({"x_api_key": "k2"}, 401),
        ({"authorization": "Basic k1"}, 401),
        ({}, 401),
    ],
    ids=["bearer", "scheme_in_any_case", "header", "wrong_key", "other_scheme", "no_key"],
)
def test_a_key_is_needed_where_keys_are_set(apis: Apis, headers: dict[str, str], status: int) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:acme"))
    answer = api.post(line(), **headers)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_events_get_the_organisation_of_the_key(apis: Apis) -> None:
    api = apis.start(keys=ApiKeys.parse("k1:acme"))
    body = b"\n".join([line(1), line(2, org_id="acme"), line(3, org_id="other"), line(4, org_id=None)])
    told = api.post(body, x_api_key="k1", content_type="text/plain").json()
    assert [(error["line"], error["reason"]) for error in told["errors"]] == [(3, "wrong_organisation")]
    assert [json.loads(record)["org_id"] for record in api.events()] == ["acme"] * 3
    assert json.loads(api.log.records("events.dlq")[0])["org_id"] == "acme"


def test_a_log_that_is_behind_asks_the_sender_to_wait(apis: Apis) -> None:
    answer = apis.start(sink=RefusingSink(Backlogged(10**9, 1.5))).post(line())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


def test_a_log_that_is_away_is_a_503_and_the_api_is_not_ready(apis: Apis) -> None:
    api = apis.start(sink=RefusingSink(LogUnavailableError("the disk is full: make room")))
    answer = api.post(line())
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full: make room")
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json()["parts"]["log"]) == (503, "the disk is full: make room")


def test_a_page_of_another_site_cannot_write_to_an_api_without_keys(api: Api) -> None:
    assert api.post(line(), origin="https://evil.example").status_code == 403
    assert api.post(line(), host="evil.example").status_code == 403
    assert api.post(line(), origin="http://127.0.0.1").status_code == 202
