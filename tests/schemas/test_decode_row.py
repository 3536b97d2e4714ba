from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dead_letters import Reject
from schemas.decode import Refused, decode_row, encode_event
from schemas.decode.instants import rfc3339_ms
from schemas.events import EVENT_BYTES_MAX, MICROS_MAX, TS_MS_MAX, TS_MS_MIN, Event, Lead
from tests.schemas.lines import NOW_MS, lines

VALID: dict[str, Any] = {"event_id": "e1", "type": "click", "ts": NOW_MS, "campaign_id": "c1"}


def row(raw: bytes, org_id: str | None = None) -> Event | Refused:
    return decode_row(raw, now_ms=NOW_MS, org_id=org_id)


def line(**changes: Any) -> bytes:
    return json.dumps({**VALID, **changes}).encode()


def without(field: str) -> bytes:
    return json.dumps({key: value for key, value in VALID.items() if key != field}).encode()


MALFORMED = {
    "a trailing comma": b'{"event_id":"e1",}',
    "a bare word": b'{"event_id":e1}',
    "a control character in a string": b'{"event_id":"e\x01"}',
    "a leading zero": b'{"ts":012}',
    "a plus sign": b'{"ts":+12}',
    "NaN": b'{"ts":NaN}',
    "a cut line": b'{"event_id":"e1","ty',
    "two objects": b"{}{}",
    "bytes that are not UTF-8": b'{"event_id":"\xff"}',
    "a lone surrogate": b'{"user_id":"\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a number beyond a double": b'{"x":1e999}',
    "single quotes": b"{'a':1}",
    "an unclosed string of escapes": b'{"' + b'\\"' * 30_000,
    "nesting without end": b"[" * 60_000,
    "65 levels": b'{"x":' * 65 + b"1" + b"}" * 65,
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_json_is_taken_strictly(raw: bytes) -> None:
    found = row(raw)
    assert isinstance(found, Refused)
    assert found.reason is Reject.MALFORMED_JSON
    assert found.detail


REFUSED: dict[str, tuple[bytes, Reject, str]] = {
    "an array": (b"[]", Reject.NOT_AN_OBJECT, ""),
    "a number": (b"1", Reject.NOT_AN_OBJECT, ""),
    "a line too long": (line(x="x" * EVENT_BYTES_MAX), Reject.TOO_LARGE, ""),
    "no event_id": (without("event_id"), Reject.MISSING_FIELD, "event_id"),
    "no type": (without("type"), Reject.MISSING_FIELD, "type"),
    "no ts": (without("ts"), Reject.MISSING_FIELD, "ts"),
    "no campaign_id": (without("campaign_id"), Reject.MISSING_FIELD, "campaign_id"),
    "null for a required field": (line(type=None), Reject.MISSING_FIELD, "type"),
    "an empty campaign_id": (line(campaign_id=""), Reject.MISSING_FIELD, "campaign_id"),
    "an empty event_id": (line(event_id=""), Reject.BAD_VALUE, "event_id"),
    "a space in event_id": (line(event_id="a b"), Reject.BAD_VALUE, "event_id"),
    "65 characters of event_id": (line(event_id="x" * 65), Reject.BAD_VALUE, "event_id"),
    "a newline behind event_id": (line(event_id="x\n"), Reject.BAD_VALUE, "event_id"),
    "a number for event_id": (line(event_id=1), Reject.WRONG_TYPE, "event_id"),
    "another type": (line(type="view"), Reject.UNKNOWN_TYPE, "type"),
    "a type in capitals": (line(type="Click"), Reject.UNKNOWN_TYPE, "type"),
    "a float for ts": (line(ts=float(NOW_MS)), Reject.WRONG_TYPE, "ts"),
    "a bool for ts": (line(ts=True), Reject.WRONG_TYPE, "ts"),
    "digits in a string for ts": (line(ts=str(NOW_MS)), Reject.BAD_VALUE, "ts"),
    "no zone": (line(ts="2026-01-31T09:00:00"), Reject.BAD_VALUE, "ts"),
    "seconds for ts": (line(ts=NOW_MS // 1_000), Reject.TS_OUT_OF_RANGE, "ts"),
    "before 2000": (line(ts=TS_MS_MIN - 1), Reject.TS_OUT_OF_RANGE, "ts"),
    "after 2100": (line(ts=TS_MS_MAX + 1), Reject.TS_OUT_OF_RANGE, "ts"),
    "more than an hour ahead": (line(ts=NOW_MS + 3_600_001), Reject.TS_IN_FUTURE, "ts"),
    "a bool for cost": (line(cost_micros=True), Reject.WRONG_TYPE, "cost_micros"),
    "a float for cost": (line(cost_micros=1.0), Reject.WRONG_TYPE, "cost_micros"),
    "a string for revenue": (line(revenue_micros="1"), Reject.WRONG_TYPE, "revenue_micros"),
    "negative cost": (line(cost_micros=-1), Reject.BAD_VALUE, "cost_micros"),
    "more cost than the bound": (line(cost_micros=MICROS_MAX + 1), Reject.BAD_VALUE, "cost_micros"),
    "another channel": (line(channel="radio"), Reject.BAD_VALUE, "channel"),
    "another platform": (line(platform="myspace"), Reject.BAD_VALUE, "platform"),
    "129 bytes of an identifier": (line(creative_id="é" * 64 + "x"), Reject.BAD_VALUE, "creative_id"),
    "2,049 bytes of text": (line(user_agent="x" * 2_049), Reject.BAD_VALUE, "user_agent"),
    "a number for a text": (line(country=49), Reject.WRONG_TYPE, "country"),
    "lead on a click": (line(lead={}), Reject.BAD_VALUE, "lead"),
    "a lead that is a string": (line(type="lead", lead="x"), Reject.WRONG_TYPE, "lead"),
    "a number for lead.email": (line(type="lead", lead={"email": 1}), Reject.WRONG_TYPE, "lead.email"),
    "a string for form_seconds": (
        line(type="lead", lead={"form_seconds": "1"}),
        Reject.WRONG_TYPE,
        "lead.form_seconds",
    ),
}


@pytest.mark.parametrize(("raw", "reason", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_names_its_reason_and_field(raw: bytes, reason: Reject, field: str) -> None:
    found = row(raw)
    assert isinstance(found, Refused)
    assert (found.reason, found.field) == (reason, field)


TAKEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "the bounds of ts": (line(ts=TS_MS_MIN), {"ts": TS_MS_MIN}),
    "an hour ahead": (line(ts=NOW_MS + 3_600_000), {"ts": NOW_MS + 3_600_000}),
    "RFC 3339": (line(ts="2026-01-31T09:00:00.5+01:00"), {"ts": 1_769_846_400_500}),
    "the largest cost": (line(cost_micros=MICROS_MAX), {"cost_micros": MICROS_MAX}),
    "null is absent": (line(cost_micros=None, channel=None, lead=None), {"cost_micros": 0, "channel": None}),
    "an empty text is absent": (line(channel="", country=""), {"channel": None, "country": None}),
    "128 bytes of an identifier": (line(creative_id="é" * 64), {"creative_id": "é" * 64}),
    "64 levels": (line(x=json.loads("[" * 63 + "]" * 63)), {}),
    "brackets in a string are no nesting": (line(x="[" * 100), {"extra": {"x": "[" * 100}}),
    "a lead without campaign": (line(type="lead", campaign_id=None), {"campaign_id": None}),
    "the last of two keys": (b'{"type":"x",' + line()[1:], {"type": "click"}),
    "unknown fields": (line(a=1, b={"c": [None]}), {"extra": {"a": 1, "b": {"c": [None]}}}),
    "unknown fields of a lead": (
        line(type="lead", lead={"email": "a@b.c", "city": "Ulm"}),
        {"lead": Lead(email="a@b.c"), "extra": {"lead": {"city": "Ulm"}}},
    ),
    "no organisation": (line(), {"org_id": "default"}),
    "its own organisation": (line(org_id="acme"), {"org_id": "acme"}),
}


@pytest.mark.parametrize(("raw", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_an_event_is_taken_with_these_values(raw: bytes, expected: dict[str, Any]) -> None:
    event = row(raw)
    assert isinstance(event, Event), event
    assert {field: getattr(event, field) for field in expected} == expected


@pytest.mark.parametrize("named", [{}, {"org_id": None}, {"org_id": "acme"}], ids=["unnamed", "null", "the same"])
def test_the_collector_stamps_its_organisation(named: dict[str, Any]) -> None:
    event = row(line(**named), org_id="acme")
    assert isinstance(event, Event)
    assert event.org_id == "acme"


def test_the_collector_refuses_an_event_of_another_organisation() -> None:
    found = row(line(org_id="other"), org_id="acme")
    assert isinstance(found, Refused)
    assert (found.reason, found.field) == (Reject.WRONG_ORGANISATION, "org_id")


@settings(max_examples=100, deadline=None)
@given(lines)
def test_an_event_written_canonically_reads_as_the_same_event(raw: bytes) -> None:
    event = row(raw)
    if isinstance(event, Event):
        assert b"\n" not in encode_event(event)
        assert row(encode_event(event)) == event


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-1_439, 1_439), st.integers(0, 9))  # noqa: DTZ001
def test_instants_agree_with_the_calendar_of_datetime(moment: datetime, minutes_east: int, digits: int) -> None:
    sign, offset = "-" if minutes_east < 0 else "+", abs(minutes_east)
    fraction = f".{moment.microsecond:06d}000"[: digits + 1] if digits else ""
    text = f"{moment.strftime('%Y').zfill(4)}{moment.strftime('-%m-%dT%H:%M:%S')}{fraction}"
    read = rfc3339_ms(f"{text}{sign}{offset // 60:02d}:{offset % 60:02d}")
    kept_us = int((fraction[1:] + "000000")[:3]) * 1_000
    expected = moment.replace(tzinfo=UTC, microsecond=kept_us) - timedelta(minutes=minutes_east)
    assert read == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
