"""Admission: lines to records of the log by partition, and refusals by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.admission import admit, with_org
from schemas.decode import Refused, decode_row
from schemas.events import DEFAULT_ORG, EVENT_BYTES_MAX
from schemas.topics import partition_of

NOW_MS = 1_767_225_600_000


def event(**changes: Any) -> dict[str, Any]:
    return {"event_id": "e1", "type": "impression", "ts": NOW_MS, "campaign_id": "shoes"} | changes


def line(**changes: Any) -> bytes:
    return json.dumps(event(**changes)).encode()


_names = st.text("abcdefgh", min_size=1, max_size=4)
_good = st.builds(
    lambda event_id, campaign, kind, extra: line(event_id=event_id, campaign_id=campaign, type=kind, **extra),
    _names,
    _names,
    st.sampled_from(["impression", "click", "conversion", "lead"]),
    st.sampled_from([{}, {"utm": "ü"}, {"org_id": "acme"}, {"org_id": None}, {"extra": {"org_id": "x"}}]),
)
_lead = st.builds(lambda event_id: line(event_id=event_id, type="lead", campaign_id=None), _names)
_bad = st.sampled_from([b"x", b"{}", b"[]", b"null", line(type="x"), line(ts=1), line(org_id="other"), b"\xff"])
_blank = st.sampled_from([b"", b"  ", b"\r"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_good, _lead, _bad, _blank), max_size=12), st.integers(1, 5), st.booleans())
def test_every_line_is_an_event_in_its_partition_or_a_refusal_by_number(
    lines: list[bytes], partitions: int, ends_with_newline: bool
) -> None:
    payload = b"\n".join(lines) + (b"\n" if ends_with_newline and lines else b"")
    admitted = admit(payload, org_id="acme", now_ms=NOW_MS, partitions=partitions, source="http/r")
    expected: dict[int, list[Any]] = {}
    refused: list[tuple[int, str]] = []
    for number, raw in enumerate(lines, start=1):
        row = decode_row(raw, now_ms=NOW_MS, org_id="acme")
        if isinstance(row, Refused):
            refused += [(number, row.reason)] if raw.strip() else []
        else:
            expected.setdefault(partition_of(row.campaign_id or row.event_id, partitions), []).append(row)
    stored = {
        partition: [decode_row(record, now_ms=NOW_MS) for record in records]
        for partition, records in admitted.records.items()
    }
    assert stored == expected
    assert [(each.line, each.letter.reason) for each in admitted.refused] == refused
    assert [each.letter.source for each in admitted.refused] == [f"http/r:{number}" for number, _ in refused]


@pytest.mark.parametrize(
    "raw",
    [
        line(),
        line(org_id="acme"),
        line(org_id=None),
        line(org_id=""),
        line(extra={"org_id": "other"}),
        line(note='an "org_id" in a text'),
        line().replace(b'"type"', b'"\\u006frg_id":null,"type"') + b"  ",
    ],
    ids=["none", "its_own", "null", "empty", "nested", "in_a_text", "null_spelt_with_escapes"],
)
def test_an_event_carries_the_organisation_of_its_key_to_every_reader(raw: bytes) -> None:
    ((record,),) = admit(raw, org_id="acme", now_ms=NOW_MS, partitions=1, source="s").records.values()
    row = decode_row(record, now_ms=NOW_MS)
    assert not isinstance(row, Refused)
    assert row.org_id == "acme"


def test_events_of_the_default_organisation_are_kept_byte_for_byte() -> None:
    raw = b' { "event_id" : "e1","type":"click","ts":1767225600000,"campaign_id":"c", "x":1.0 } '
    admitted = admit(raw, org_id=DEFAULT_ORG, now_ms=NOW_MS, partitions=1, source="s")
    assert admitted.records == {0: [raw]}
    assert with_org(raw, DEFAULT_ORG) is raw


def test_an_event_that_only_its_organisation_makes_too_long_is_refused() -> None:
    filler = EVENT_BYTES_MAX - len(line(event_id="e2", filler="")) - 4
    long = line(event_id="e2", filler="x" * filler)
    admitted = admit(b"\n".join([line(), long, b"x"]), org_id="acme", now_ms=NOW_MS, partitions=1, source="s")
    assert [(each.line, each.letter.reason) for each in admitted.refused] == [(2, "too_large"), (3, "malformed_json")]
    assert admitted.accepted == 1
    assert admit(long, org_id=DEFAULT_ORG, now_ms=NOW_MS, partitions=1, source="s").accepted == 1


def test_a_request_sent_again_has_the_same_dead_letters() -> None:
    first, again = (
        admit(b"x", org_id="acme", now_ms=now_ms, partitions=1, source="http/r1").refused[0].letter.dead_letter_id
        for now_ms in (NOW_MS, NOW_MS + 5)
    )
    assert first == again
