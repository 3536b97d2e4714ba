"""Items of a JSON body, kept as they came: counted before any of them is made an object."""

from __future__ import annotations

from typing import Final

import msgspec

from ingest.formats.converted import FormatError, TooManyError
from schemas.nesting import NESTING_MAX, nests_too_deep

# As of events in one request (api.body.LINES_MAX).
ITEMS_MAX: Final = 100_000

_one: Final = msgspec.json.Decoder(msgspec.Raw)
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])


def check_depth(body: bytes) -> None:
    """Raises FormatError for what nests deeper than anything of ours."""
    if nests_too_deep(body):
        raise FormatError(f"The JSON nests deeper than {NESTING_MAX}.", "nested_too_deep")


def items_of(body: bytes) -> list[bytes]:
    """The elements of a JSON array, or the one value there is, each in one line; raises FormatError."""
    text = body.strip()
    check_depth(text)
    try:
        found = _array.decode(text) if text.startswith(b"[") else [_one.decode(text)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The body is not JSON: {error}.", "malformed_json") from None
    return raw_items(found)


def raw_items(found: list[msgspec.Raw]) -> list[bytes]:
    """The items' bytes, each in one line; raises TooManyError."""
    if len(found) > ITEMS_MAX:
        raise TooManyError(f"A request takes {ITEMS_MAX} events; send several.")
    return [one_line(bytes(item)) for item in found]


def one_line(value: bytes) -> bytes:
    """The JSON value without line ends; inside a JSON string there can be none."""
    return value if b"\n" not in value and b"\r" not in value else msgspec.json.format(value, indent=-1)
