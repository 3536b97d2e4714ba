"""External tables: rows that a client sends beside its statement, as files of a form, and names in it.

chDB has no way in for them, so each becomes a temporary table of the connection that runs the statement, made before
the statement is looked at. An analyst's may have plain types and text formats only: neither the structure nor the rows
may hold an expression, a path or the state of an aggregate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from storage.service.errors import ACCESS_DENIED, BAD_ARGUMENTS, from_engine, refused
from storage.service.literals import identifier, quoted

TABLES_MAX: Final = 8
COLUMNS_MAX: Final = 200
_STRUCTURE_MAX: Final = 16 * 1024
_DEPTH_MAX: Final = 8

_NAME: Final = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|(?P<number>-?\d+)|(?P<text>'[^'\\]*')|`(?P<name>[^`\\]+)`|(?P<sign>[(),=]))",
    re.ASCII,
)
_PLAIN: Final = frozenset(
    {"Bool", "Boolean", "String", "UUID", "IPv4", "IPv6", "Date", "Date32", "DateTime", "DateTime64", "FixedString"}
    | {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)}
    | {"Float32", "Float64", "Decimal", "Decimal32", "Decimal64", "Decimal128", "Decimal256", "Enum", "Enum8", "Enum16"}
)
# Of other types; a Tuple's may have names.
_OF_TYPES: Final = frozenset({"Array", "Map", "Tuple", "Nullable", "LowCardinality"})
# Formats that say values and nothing else; `Values` may hold expressions, binary ones types of their own.
FORMATS_FOR_READERS: Final = frozenset(
    {"tabseparated", "tabseparatedwithnames", "tsv", "tsvwithnames", "tabseparatedraw", "tsvraw", "csv", "csvwithnames"}
    | {"jsoneachrow", "jsonlines", "ndjson", "jsoncompacteachrow", "jsoncompacteachrowwithnames", "lineasstring"}
    | {"rowbinary"}
)


@dataclass(frozen=True, slots=True)
class External:
    """A table that came with a request."""

    name: str
    structure: str
    rows_format: str
    rows: bytes

    @property
    def empty(self) -> External:
        """Its shape."""
        return replace(self, rows_format="TabSeparated", rows=b"")


def external(name: str, rows: bytes, told: dict[str, str]) -> External:
    """The table of a form's file, by the parameters `name_structure` or `name_types` and `name_format`, which are
    taken out of `told`; raises ServiceError."""
    if _NAME.fullmatch(name) is None:
        raise refused(BAD_ARGUMENTS, f"{name[:40]!r} cannot be the name of an external table.")
    rows_format = told.pop(f"{name}_format", "TabSeparated")
    structure, types = told.pop(f"{name}_structure", ""), told.pop(f"{name}_types", "")
    if types and not structure:
        structure = ", ".join(f"_{number} {one}" for number, one in enumerate(_split(types), 1))
    if not structure or len(structure) > _STRUCTURE_MAX:
        detail = f"External table {name}: {name}_structure or {name}_types must say its columns in {_STRUCTURE_MAX} B."
        raise refused(BAD_ARGUMENTS, detail)
    return External(name, structure, rows_format, rows)


def _split(types: str) -> Iterator[str]:
    depth = start = 0
    for at, letter in enumerate(types):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield types[start:at].strip()
            start = at + 1
    yield types[start:].strip()


def for_reader(table: External) -> External:
    """The table as an analyst may have it; raises ServiceError 497."""
    if table.rows_format.lower() not in FORMATS_FOR_READERS:
        detail = f"analyst: an external table in format {table.rows_format[:40]} is not allowed; send TSV, CSV or JSON."
        raise refused(ACCESS_DENIED, detail)
    _Structure(table.structure).check()
    return table


class _Structure:
    """`name Type, ...` with types that hold values alone, read token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read(text))
        self._at = 0

    def _read(self, text: str) -> Iterator[tuple[str, str]]:
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._bad()
            kind = found.lastgroup or ""
            yield (found[kind] if kind == "sign" else kind), found[kind]
            at = found.end()
        yield "end", ""

    def _bad(self) -> Exception:
        detail = f"analyst: the structure {self._text[:100]!r} is not one of names and plain types."
        return refused(ACCESS_DENIED, detail)

    def _take(self, *kinds: str) -> str:
        kind, text = self._tokens[self._at]
        if kind not in kinds:
            raise self._bad()
        self._at += 1
        return text

    @property
    def _next(self) -> str:
        return self._tokens[self._at][0]

    def check(self) -> None:
        """Raises ServiceError 497 for anything but names and types."""
        for _ in range(COLUMNS_MAX):
            self._take("word", "name")
            self._type(0)
            if self._next == "end":
                return
            self._take(",")
        raise self._bad()

    def _type(self, depth: int) -> None:
        name = self._take("word")
        if depth > _DEPTH_MAX or name not in _PLAIN | _OF_TYPES:
            raise self._bad()
        if self._next != "(":
            return
        self._take("(")
        while True:
            if name in _OF_TYPES:
                self._part(depth, named=name == "Tuple")
            else:
                self._value()
            if self._next != ",":
                break
            self._take(",")
        self._take(")")

    def _part(self, depth: int, *, named: bool) -> None:
        following = self._tokens[self._at + 1][0] if self._at + 1 < len(self._tokens) else "end"
        if named and self._next in ("word", "name") and following == "word":
            self._take("word", "name")
        self._type(depth + 1)

    def _value(self) -> None:
        if self._take("text", "number") and self._next == "=":
            self._take("=")
            self._take("number")


def put(connection: Any, table: External) -> None:
    """Make the table on the connection, which must be allowed to; it goes with the connection. Raises ServiceError."""
    descriptor = os.memfd_create("external", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as rows:
        rows.write(table.rows)
        rows.flush()
        parts = (f"/proc/self/fd/{descriptor}", table.rows_format if table.rows else "TabSeparated", table.structure)
        source = f"SELECT * FROM file({', '.join(map(quoted, parts))})"  # noqa: S608
        try:
            connection.query(f"CREATE TEMPORARY TABLE {identifier(table.name)} ENGINE = Memory AS {source}")
        except Exception as error:
            raise from_engine(error) from error
