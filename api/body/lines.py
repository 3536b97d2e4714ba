"""A request's events as NDJSON, whichever of the accepted forms they came in."""

from __future__ import annotations

from typing import Final

import msgspec

from api.body.json_body import nested_too_deep
from api.problems import Problem

# No real event has under 80 bytes, so that no honest request has more lines than this.
LINES_MAX: Final = 100_000

_JSON: Final = frozenset({"", "application/json"})
_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain"})
_BOM: Final = b"\xef\xbb\xbf"

_one = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def to_lines(body: bytes, content_type: str) -> bytes:
    """One event a line, each line ended by a newline, from one JSON event, a JSON array or NDJSON.

    Raises Problem 415 for another content type, 413 for more than LINES_MAX lines, 400 for an array that is broken or
    nests too deep.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _JSON and media_type not in _LINES:
        detail = f"{media_type[:80]!r} is not application/json, application/x-ndjson or text/plain."
        raise Problem(415, "unsupported_media_type", "Unsupported content type", detail)
    body = body.removeprefix(_BOM)
    lines = body if media_type in _LINES else _json_to_lines(body)
    if lines.count(b"\n") > LINES_MAX:
        raise Problem(413, "too_many_lines", "Too many events", f"A request takes {LINES_MAX} lines; send several.")
    return lines if lines.endswith(b"\n") or not lines else lines + b"\n"


def _json_to_lines(body: bytes) -> bytes:
    text = body.strip()
    # Each event's own depth is checked with the event; what ends the parser's stack here is past any of them.
    try:
        if text.startswith(b"["):
            return b"\n".join(_one_line(bytes(element)) for element in _elements(text))
        if b"\n" not in text or not _is_whole(text):
            # One event, or several lines under the content type of one: line numbers count from the body's first line.
            return body
        return _one_line(text)
    except RecursionError:
        raise nested_too_deep() from None


def _is_whole(text: bytes) -> bool:
    """Is this one JSON value, spread over lines?"""
    try:
        _one.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _elements(array: bytes) -> list[msgspec.Raw]:
    try:
        elements = _array.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", "The array is not JSON", str(error)) from error
    if len(elements) > LINES_MAX:
        raise Problem(413, "too_many_lines", "Too many events", f"A request takes {LINES_MAX} events; send several.")
    return elements


def _one_line(value: bytes) -> bytes:
    """The value without line ends; inside a JSON string there can be none."""
    return value if b"\n" not in value and b"\r" not in value else msgspec.json.format(value, indent=-1)
