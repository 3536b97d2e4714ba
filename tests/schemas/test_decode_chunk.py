from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batch import FEATURE_FIELDS, EventBatch
from schemas.decode import Decoded, Refused, decode_chunk, decode_row, encode_event, feature_hash
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
        int(batch.id_hi[at]),
        int(batch.id_lo[at]),
        int(batch.actor[at]),
        int(batch.ref[at]),
        tuple(batch.features[at].tolist()),
        batch.series[batch.series_code[at]],
    )


@settings(max_examples=400, deadline=None)
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
        key = found.batch.series[found.batch.series_code[at]]
        assert key == (
            event.org_id,
            *(getattr(event, field) or "" for field in ("campaign_id", "creative_id", "channel", "country", "device")),
        )
        assert found.batch.features[at].tolist() == [
            feature_hash(getattr(event, field) or "") for field in FEATURE_FIELDS
        ]
