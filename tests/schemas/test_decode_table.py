from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decode import TableColumns, decode_chunk, decode_row, decode_table
from schemas.events import TEXT_FIELDS, Event, EventType
from schemas.log import Chunk
from tests.schemas.lines import NOW_MS, lines


def chunk_of(*records: bytes) -> Chunk:
    payload = b"".join(record + b"\n" for record in records)
    return Chunk("events", 0, payload, 0, len(payload))


def written(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def expected_row(event: Event) -> dict[str, object]:
    fields = (*TEXT_FIELDS, "event_id", "org_id", "campaign_id")
    return {
        **{field: getattr(event, field) or "" for field in fields},
        "type": EventType[event.type.upper()].value,
        "ts_ms": event.ts,
        "cost_micros": event.cost_micros,
        "revenue_micros": event.revenue_micros,
        "lead": written(event.lead),
        "extra": written(event.extra),
    }


def row_of(table: TableColumns, row: int) -> dict[str, object]:
    return {
        **{field: column.text(row) for field, column in table.texts.items()},
        **{field: int(getattr(table, field)[row]) for field in ("type", "ts_ms", "cost_micros", "revenue_micros")},
        "lead": table.lead.text(row),
        "extra": table.extra.text(row),
    }


# The hunt (`test_decode_hunt`) tries many more lines, by its own reference.
@settings(max_examples=60, deadline=None)
@given(st.lists(lines, min_size=1, max_size=8), st.sampled_from([None, "acme"]))
def test_a_table_holds_every_field_of_every_event_as_the_row_decoder_reads_it(
    records: list[bytes], org_id: str | None
) -> None:
    chunk = chunk_of(*records)
    table = decode_table(chunk, now_ms=NOW_MS, org_id=org_id)
    rows = [decode_row(record, now_ms=NOW_MS, org_id=org_id) for record in records]
    events = [event for event in rows if isinstance(event, Event)]
    assert [row_of(table, row) for row in range(len(table))] == [expected_row(event) for event in events]
    batch = decode_chunk(chunk, now_ms=NOW_MS, org_id=org_id).batch
    assert table.position.tolist() == batch.position.tolist()


def test_text_columns_are_arrow_arrays_as_they_are() -> None:
    events = [f'{{"event_id":"e{i}","type":"click","ts":{NOW_MS},"campaign_id":"ключ{"x" * i}"}}' for i in range(9)]
    table = decode_table(chunk_of(*(event.encode() for event in events)), now_ms=NOW_MS)
    offsets, content = table.texts["campaign_id"]
    array = pa.StringArray.from_buffers(len(table), pa.py_buffer(offsets), pa.py_buffer(content))
    array.validate(full=True)
    assert array.to_pylist() == [f"ключ{'x' * i}" for i in range(9)]


@pytest.mark.parametrize(
    "payload", [b"", b"\n", b" \r\n\n", b"{}\n"], ids=["nothing", "a newline", "blanks", "refused"]
)
def test_a_chunk_without_events_is_an_empty_table(payload: bytes) -> None:
    table = decode_table(Chunk("events", 0, payload, 0, len(payload)), now_ms=NOW_MS)
    assert len(table) == 0
    assert table.texts["event_id"].offsets.tolist() == [0]
    assert table.lead.offsets.tolist() == table.extra.offsets.tolist() == [0]
