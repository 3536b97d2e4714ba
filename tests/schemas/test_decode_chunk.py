from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batch import EventBatch
from schemas.decode import Decoded, Refused, decode_chunk, decode_row, encode_event
from schemas.events import Event, EventType
from schemas.log import Chunk
from tests.schemas.lines import NOW_MS, lines

organisations = st.sampled_from([None, "acme"])


def chunk_of(payload: bytes, first_offset: int = 0) -> Chunk:
    return Chunk("events", 0, payload, first_offset, first_offset + len(payload))


def decoded(*records: bytes, org_id: str | None = None) -> Decoded:
    return decode_chunk(chunk_of(b"".join(record + b"\n" for record in records)), now_ms=NOW_MS, org_id=org_id)


def row(batch: EventBatch, at: int) -> tuple[object, ...]:
    """Everything a row says but its position, its series spelled out."""
    return (
        int(batch.type[at]),
        int(batch.ts_ms[at]),
        int(batch.cost_micros[at]),
        int(batch.revenue_micros[at]),
        int(batch.event_hash[at]),
        int(batch.actor[at]),
        batch.series.key(batch.series_code[at]),
    )


# The hunt (`test_decode_hunt`) tries many more lines, by its own reference.
@settings(max_examples=80, deadline=None)
@given(st.lists(lines, min_size=1, max_size=8), organisations)
def test_a_chunk_takes_and_refuses_what_the_row_decoder_does(records: list[bytes], org_id: str | None) -> None:
    found = decoded(*records, org_id=org_id)
    rows = [decode_row(record, now_ms=NOW_MS, org_id=org_id) for record in records if record.strip(b" \t\r")]
    events = [event for event in rows if isinstance(event, Event)]
    refused = [refusal for refusal in rows if isinstance(refusal, Refused)]
    assert [(dead.reason, dead.field, dead.detail) for dead in found.dead] == refused
    assert found.lines == len(rows)
    assert len(found.batch) == len(events)
    # Written canonically the same event takes the fast path, and with a nested unknown field the slow one.
    for at, event in enumerate(events):
        fast = decoded(encode_event(event))
        slow = decoded(encode_event(event)[:-1] + b',"\\u0078":[0]}')
        assert row(found.batch, at) == row(fast.batch, 0) == row(slow.batch, 0)
        assert found.batch.type[at] == EventType[event.type.upper()]
        assert (found.batch.ts_ms[at], found.batch.cost_micros[at]) == (event.ts, event.cost_micros)
        key = found.batch.series.key(found.batch.series_code[at])
        assert key == (
            event.org_id,
            *(getattr(event, field) or "" for field in ("campaign_id", "creative_id", "channel", "country", "device")),
        )


EVENT = b'{"event_id":"e1","type":"click","ts":1799999999999,"campaign_id":"c1","country":"DE"}'


def json_reference(raw: bytes) -> bool:
    """Whether Python's own JSON reader takes the line, with what it takes beyond the standard refused."""

    def not_json(word: str) -> float:
        raise ValueError(word)

    try:
        json.loads(raw.decode(), parse_constant=not_json)
    except (ValueError, RecursionError):
        return False
    return True


@settings(max_examples=100, deadline=None)
@given(lines)
def test_no_event_comes_from_what_is_not_json(raw: bytes) -> None:
    if len(decoded(raw).batch) == 1:
        assert json_reference(raw)


@pytest.mark.parametrize("at", range(len(EVENT)))
def test_a_line_cut_anywhere_is_refused_and_the_next_one_taken(at: int) -> None:
    found = decoded(EVENT[:at], EVENT)
    assert len(found.batch) == 1
    assert len(found.dead) == (1 if at else 0)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_lines_that_are_blank_refused_or_taken(payload: bytes) -> None:
    found = decode_chunk(chunk_of(payload), now_ms=NOW_MS)
    assert found.lines == sum(1 for record in payload.split(b"\n") if record.strip(b" \t\r"))
    assert found.lines == len(found.batch) + len(found.dead)


HUGE = {
    "ten megabytes of text": EVENT[:-1] + b',"x":"' + b"y" * 10_000_000 + b'"}',
    "ten megabytes of spaces": EVENT[:-1] + b" " * 10_000_000 + b"}",
    "ten megabytes of brackets": b"[" * 10_000_000,
    "ten megabytes of digits": EVENT[:-1] + b',"x":' + b"1" * 10_000_000 + b"}",
    "ten megabytes of quotes": b'"' * 10_000_000,
}


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE.keys())
def test_a_huge_line_is_too_large_and_harms_no_other(huge: bytes) -> None:
    found = decoded(EVENT, huge, EVENT)
    assert len(found.batch) == 2
    assert [(dead.reason, dead.raw_bytes) for dead in found.dead] == [("too_large", len(huge))]
    assert found.batch.position.tolist() == [0, len(EVENT) + len(huge) + 2]


def test_positions_are_byte_offsets_in_the_log() -> None:
    found = decode_chunk(chunk_of(EVENT + b"\n\n  \r\n{}\n" + EVENT + b"\n", first_offset=1_000), now_ms=NOW_MS)
    assert found.batch.position.tolist() == [1_000, 1_000 + len(EVENT) + 1 + 1 + 4 + 3]
    assert [dead.source for dead in found.dead] == [f"events/0@{1_000 + len(EVENT) + 1 + 1 + 4}"]


def test_positions_are_record_offsets_where_the_log_counts_records() -> None:
    payload = EVENT + b"\n{}\n" + EVENT + b"\n"
    chunk = Chunk("events", 3, payload, 7, 12, offsets=np.array([7, 9, 11]))
    found = decode_chunk(chunk, now_ms=NOW_MS)
    assert found.batch.position.tolist() == [7, 11]
    assert [dead.source for dead in found.dead] == ["events/3@9"]


@pytest.mark.parametrize("payload", [b"", b"\n", EVENT], ids=["nothing", "a newline", "no newline at the end"])
def test_a_chunk_may_be_empty_or_lack_its_last_newline(payload: bytes) -> None:
    assert len(decode_chunk(chunk_of(payload), now_ms=NOW_MS).batch) == (1 if payload == EVENT else 0)


def event(**changes: object) -> bytes:
    return json.dumps({**json.loads(EVENT), **changes}).encode()


def test_the_person_is_the_user_else_the_device_else_address_and_browser() -> None:
    people = [
        {"user_id": "u", "device_id": "d"},
        {"user_id": "u", "ip": "1.2.3.4"},
        {"device_id": "d", "ip": "1.2.3.4"},
        {"device_id": "u"},
        {"ip": "1.2.3.4", "user_agent": "a"},
        {"ip": "1.2.3.4", "user_agent": "b"},
        {"ip": "1.2.3.4"},
        {"user_id": "u", "org_id": "acme"},
        {"user_agent": "a"},
        {},
    ]
    actors = decoded(*(event(event_id=f"e{at}", **person) for at, person in enumerate(people))).batch.actor.tolist()
    assert actors[0] == actors[1]
    assert len(set(actors[1:8])) == 7
    assert 0 not in actors[:8]
    assert actors[8:] == [0, 0]


def test_events_differ_by_organisation_and_campaign_and_do_not_collide() -> None:
    owners = [{"org_id": org, "campaign_id": campaign} for org in ("a", "b") for campaign in ("c", "d")]
    batch = decoded(*(event(event_id=f"e{n}", **owner) for n in range(2_500) for owner in owners)).batch
    assert len(set(batch.event_hash.tolist())) == 10_000
    assert 0 not in batch.event_hash
    # 64 buckets by the low bits: none far from its share.
    counts = np.bincount((batch.event_hash % np.uint64(64)).astype(np.int64), minlength=64)
    assert counts.min() > 100
    assert counts.max() < 220


def test_a_dead_letter_belongs_to_the_organisation_that_its_line_names() -> None:
    assert [dead.org_id for dead in decoded(b'{"org_id":"acme"}', b"{").dead] == ["acme", "default"]
    assert [dead.org_id for dead in decoded(b'{"org_id":"acme"}', org_id="mine").dead] == ["mine"]
