"""Columns of series for tests, made as events make them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.batch import SeriesColumns, SeriesKey
from schemas.decode import SeriesTable, decode_chunk
from schemas.events import TS_MS_MIN
from schemas.log import Chunk


def series_of(keys: Sequence[SeriesKey], table: SeriesTable | None = None) -> SeriesColumns:
    """The series of these keys, which are coded in this order where they are new to the table."""
    event = {"event_id": "e", "type": "lead", "ts": TS_MS_MIN}
    payload = b"".join(
        msgspec.json.encode(event | {name: text for name, text in key._asdict().items() if text}) + b"\n"
        for key in keys
    )
    decoded = decode_chunk(Chunk("events", 0, payload, 0, len(payload)), now_ms=TS_MS_MIN, series=table)
    assert not decoded.dead, decoded.dead[0]
    return decoded.batch.series
