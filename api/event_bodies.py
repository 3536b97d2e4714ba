"""Bodies of `POST /api/v1/events` in other formats: CloudEvents, CSV, Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any, Final

from starlette.datastructures import Headers

from api.body import LINES_MAX
from api.problems import Problem
from ingest.formats import cloudevents, parquet
from ingest.formats.converted import Converted, FormatError, TooManyError
from ingest.formats.mapping import Mapping
from ingest.formats.tables import Row, RowReader, csv_rows, csv_text, from_rows

CSV: Final = "text/csv"
_TEXT: Final = {"schema": {"type": "string"}}
# For the OpenAPI document.
CONTENT: Final[dict[str, Any]] = {
    cloudevents.STRUCTURED: {"schema": {"type": "object"}},
    cloudevents.BATCH: {"schema": {"type": "array", "items": {"type": "object"}}},
    CSV: _TEXT,
    parquet.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}},
}


def needs_thread(headers: Headers) -> bool:
    """Is the body, however small, too much work for the event loop?"""
    return _media_type(headers) == parquet.MEDIA_TYPE


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def converted_body(
    headers: Headers, body: bytes, mapping: Mapping, now_ms: int, still_wanted: Callable[[], None]
) -> Converted | None:
    """The body's events, None when it is in our own format; raises Problem 400 or 413 when it is not what it says."""
    media_type = _media_type(headers)
    try:
        if media_type in (cloudevents.STRUCTURED, cloudevents.BATCH):
            return cloudevents.from_json(body, batch=media_type == cloudevents.BATCH)
        if cloudevents.SPECVERSION_HEADER in headers:
            return cloudevents.from_binary(headers, body)
        if media_type == CSV:
            return _from_table(csv_rows(csv_text(body), mapped=mapping.csv is not None), mapping, now_ms, still_wanted)
        if media_type == parquet.MEDIA_TYPE:
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.seek(0)
                rows = parquet.parquet_rows(file, parquet.UPLOAD, mapped=mapping.csv is not None)
                # Its process ends with it, also when a row is one too many or the sender leaves.
                with closing(rows):
                    return _from_table(rows, mapping, now_ms, still_wanted)
    except FormatError as error:
        raise refusal(error) from None
    return None


def _from_table(rows: Iterable[Row], mapping: Mapping, now_ms: int, still_wanted: Callable[[], None]) -> Converted:
    reader = RowReader(mapping.csv, now_ms=now_ms)
    return from_rows(rows, reader, rows_max=LINES_MAX, still_wanted=still_wanted)


def refusal(error: FormatError) -> Problem:
    """What to answer when nothing of a body can be read."""
    if isinstance(error, TooManyError):
        return Problem(413, error.code, "Too large", str(error))
    return Problem(400, error.code, "The body is not what it should be", str(error))
