"""Format Native as a client wants it that names its protocol (`client_protocol_version`), as clickhouse-go does.

A server tells such a client more in each block: before it the block's info, and behind each column's type whether its
values are laid out in a way of their own, which they never are here. The engine writes blocks for clients that name
none, so they are written anew: to know where a column ends its type must be read, and its values passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from storage.service.errors import UNKNOWN_FORMAT, ServiceError, refused

# Of a client that names an earlier one nothing more is told: it asks, and takes what comes.
REVISION_MIN: Final = 54_454
# Field 1, not overflowing rows; field 2, no bucket (-1); the end.
_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_PLAIN_LAYOUT: Final = b"\x00"
_DEPTH_MAX: Final = 32

_WIDTHS: Final = {
    **{f"{sign}Int{bits}": bits // 8 for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)},
    "Float32": 4, "Float64": 8, "BFloat16": 2, "Bool": 1, "Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8,
    "Time": 4, "Time64": 8, "UUID": 16, "IPv4": 4, "IPv6": 16, "Enum8": 1, "Enum16": 2, "Nothing": 1, "Decimal32": 4,
    "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}  # fmt: skip
_ALIASES: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_TYPE: Final = re.compile(r"([A-Za-z]\w*)(?:\((.*)\))?", re.DOTALL)
_NAMED: Final = re.compile(r"(?:[A-Za-z_]\w*|`(?:[^`\\]|\\.)*+`) (?=[A-Za-z])")
# What stands between two types, and what may hold a comma or a bracket and is none.
_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*+'|`(?:[^`\\]|\\.)*+`|[(),]")


def _parts(text: str) -> list[str]:
    """The types between commas.

    >>> _parts("UInt8, Map(String, Enum8('a,' = 1))")
    ['UInt8', "Map(String, Enum8('a,' = 1))"]
    """
    parts: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "," and depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


@dataclass(slots=True)
class _Reader:
    """A place in the engine's bytes; whatever is read moves it on."""

    raw: bytes
    at: int = 0

    def number(self) -> int:
        """A number in groups of seven bits."""
        found = shift = 0
        while True:
            byte = self.raw[self.at]
            self.at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def word(self) -> int:
        """A number of eight bytes."""
        self.at += 8
        return int.from_bytes(self.raw[self.at - 8 : self.at], "little")

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        self.at += size

    def text(self) -> str:
        """A text with its length before it."""
        size = self.number()
        self.at += size
        return self.raw[self.at - size : self.at].decode()


def _unknown(named: str) -> ServiceError:
    return refused(UNKNOWN_FORMAT, f"Type {named[:80]} cannot be sent in Native to this client; cast it to String.")


def _split(named: str, depth: int) -> tuple[str, list[str]]:
    found = _TYPE.fullmatch(_ALIASES.get(named, named))
    if found is None or depth > _DEPTH_MAX:
        raise _unknown(named)
    parts = _parts(found[2]) if found[2] else []
    if found[1] in ("Tuple", "Nested"):
        parts = [_NAMED.sub("", part, count=1) for part in parts]
    if found[1] == "Nested":
        return "Array", [f"Tuple({', '.join(parts)})"]
    return found[1], parts


def _width(name: str, parts: list[str]) -> int | None:
    """Bytes of a value where all have as many."""
    if name == "FixedString":
        return int(parts[0])
    if name == "Decimal":
        digits = int(parts[0])
        return next(size for size, most in ((4, 9), (8, 18), (16, 38), (32, 76)) if digits <= most)
    return 8 if name.startswith("Interval") else _WIDTHS.get(name)


def _pass_prefix(reader: _Reader, named: str, depth: int = 0) -> None:
    """What stands before a column's values: for each dictionary in it the version of its keys."""
    name, parts = _split(named, depth)
    if name == "LowCardinality":
        reader.skip(8)
    elif name in ("Array", "Nullable", "Tuple", "Map", "SimpleAggregateFunction"):
        for part in parts[1:] if name == "SimpleAggregateFunction" else parts:
            _pass_prefix(reader, part, depth + 1)


def _pass_values(reader: _Reader, named: str, rows: int, depth: int = 0) -> None:
    """So many values of a type."""
    name, parts = _split(named, depth)
    width = _width(name, parts)
    if width is not None:
        reader.skip(width * rows)
    elif name == "String":
        for _ in range(rows):
            reader.skip(reader.number())
    elif name == "Nullable":
        reader.skip(rows)
        _pass_values(reader, parts[0], rows, depth + 1)
    elif name in ("Array", "Map"):
        reader.skip(max(0, rows - 1) * 8)
        inner = reader.word() if rows else 0
        for part in parts:
            _pass_values(reader, part, inner, depth + 1)
    elif name == "Tuple":
        for part in parts:
            _pass_values(reader, part, rows, depth + 1)
        reader.skip(0 if parts else rows)
    elif name == "LowCardinality":
        _pass_dictionary(reader, parts[0], rows, depth)
    elif name == "SimpleAggregateFunction":
        _pass_values(reader, parts[1], rows, depth + 1)
    else:
        raise _unknown(named)


def _pass_dictionary(reader: _Reader, named: str, rows: int, depth: int) -> None:
    """A dictionary's keys and the places of the values in it."""
    if not rows:
        return
    index_width = 1 << (reader.word() & 0xFF)
    # The place of the first key stands for NULL; the column has no marks of its own.
    key = named.removeprefix("Nullable(").removesuffix(")") if named.startswith("Nullable(") else named
    _pass_values(reader, key, reader.word(), depth + 1)
    reader.skip(reader.word() * index_width)


def framed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The engine's chunks of whole blocks for a client that names its protocol; raises ServiceError 73 for a type whose
    layout is not known here."""
    for chunk in chunks:
        reader = _Reader(chunk)
        while reader.at < len(chunk):
            yield _framed_block(reader)


def _framed_block(reader: _Reader) -> bytes:
    begin = reader.at
    columns, rows = reader.number(), reader.number()
    pieces = [_INFO, reader.raw[begin : reader.at]]
    for _ in range(columns):
        begin = reader.at
        reader.text()
        named = reader.text()
        pieces += (reader.raw[begin : reader.at], _PLAIN_LAYOUT)
        begin = reader.at
        if rows:
            _pass_prefix(reader, named)
            _pass_values(reader, named, rows)
        pieces.append(reader.raw[begin : reader.at])
    if reader.at > len(reader.raw):
        raise _unknown("of a block that ends early")
    return b"".join(pieces)
