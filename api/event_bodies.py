"""Bodies of `POST /api/v1/events` in other formats: CloudEvents, CSV, Parquet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.datastructures import Headers

from api.body import LINES_MAX
from api.problems import Problem
from ingest.formats import cloudevents
from ingest.formats.converted import Converted, FormatError, TooManyError
from ingest.formats.mapping import Mapping
from ingest.formats.tables import RowReader, csv_rows, csv_text, from_rows

CSV: Final = "text/csv"
_TEXT: Final = {"schema": {"type": "string"}}
# For the OpenAPI document.
CONTENT: Final[dict[str, Any]] = {
    cloudevents.STRUCTURED: {"schema": {"type": "object"}},
    cloudevents.BATCH: {"schema": {"type": "array", "items": {"type": "object"}}},
    CSV: _TEXT,
}


def needs_thread(headers: Headers) -> bool:
    """Is the body, however small, too much work for the event loop?"""
    return False


def converted_body(
    headers: Headers, body: bytes, mapping: Mapping, now_ms: int, still_wanted: Callable[[], None]
) -> Converted | None:
    """The body's events, None when it is in our own format; raises Problem 400 or 413 when it is not what it says."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in (cloudevents.STRUCTURED, cloudevents.BATCH):
            return cloudevents.from_json(body, batch=media_type == cloudevents.BATCH)
        if cloudevents.SPECVERSION_HEADER in headers:
            return cloudevents.from_binary(headers, body)
        if media_type == CSV:
            rows = csv_rows(csv_text(body), mapped=mapping.csv is not None)
            reader = RowReader(mapping.csv, now_ms=now_ms)
            return from_rows(rows, reader, rows_max=LINES_MAX, still_wanted=still_wanted)
    except FormatError as error:
        raise refusal(error) from None
    return None


def refusal(error: FormatError) -> Problem:
    """What to answer when nothing of a body can be read."""
    if isinstance(error, TooManyError):
        return Problem(413, error.code, "Too large", str(error))
    return Problem(400, error.code, "The body is not what it should be", str(error))
