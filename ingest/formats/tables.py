"""Rows of CSV and Parquet as events: columns named as our fields are taken as they are, others through a mapping."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ingest.formats.converted import Converted, FormatError, TooManyError, event_id_of, stable_id
from ingest.formats.mapper import Mapper, first_of
from ingest.formats.mapping import KNOWN_FIELDS, FormatMapping
from schemas.dead_letters import Reject
from schemas.events import EVENT_BYTES_MAX

# An event has some 35 fields; the widest exports of ad platforms have under 200 columns.
COLUMNS_MAX: Final = 256
# Of a line; what is longer is no event.
LINE_CHARACTERS_MAX: Final = 4 * EVENT_BYTES_MAX
_NUMBERS: Final = frozenset({"ts", "cost_micros", "revenue_micros"})
# Between two looks whether the sender is still there.
_STEP_ROWS: Final = 1_000
_DELIMITERS: Final = ",;\t"
# More digits than any number of an event has stay text, which is refused.
_DIGITS_MAX: Final = 19


class BadRow(NamedTuple):
    """A row that cannot be read, and why."""

    reason: str
    cells: list[str]


Row = dict[str, Any] | BadRow


def csv_rows(lines: Iterable[str], *, mapped: bool = False) -> Iterator[Row]:
    """Rows by the names of the header line; empty cells are absent. Raises FormatError for a header that is none.

    The delimiter is the one of `,`, `;` and tab that the header has most of. Quoting is RFC 4180's.
    """
    numbered = iter(_bounded(lines))
    header_line = next((line for line in numbered if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header_line.count)
    try:
        header = [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise FormatError(f"The header is no CSV: {error}.") from None
    check_columns(header, mapped=mapped)
    reader = csv.reader(numbered, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield BadRow(f"is no CSV: {error}", [])
            continue
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(header):
            yield BadRow(f"has {len(cells)} cells, the header {len(header)}", cells)
            continue
        yield {name: cell for name, cell in zip(header, cells, strict=True) if cell}


def check_columns(names: Sequence[str], *, mapped: bool) -> None:
    """Raises FormatError for names that cannot be a table's header."""
    if len(names) > COLUMNS_MAX:
        raise TooManyError(f"The table has {len(names)} columns; it may have {COLUMNS_MAX}.")
    if not names or not all(names):
        raise FormatError("The table needs a header that names each column.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FormatError(f"The column {twice[0][:80]!r} is there more than once.")
    missing = [name for name in ("event_id", "type", "ts") if name not in names]
    if missing and not mapped:
        detail = f"The table has no column {missing[0]}; name its columns as our fields, or map them (section csv)."
        raise FormatError(detail, "missing_column")


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_CHARACTERS_MAX:
            raise TooManyError(f"Line {number} has more than {LINE_CHARACTERS_MAX} characters.")
        yield line


class RowReader:
    """Makes events of rows: by a mapping, or where there is none by the columns' own names."""

    def __init__(self, mapping: FormatMapping | None, *, now_ms: int) -> None:
        self._mapping = mapping
        self._mapper = Mapper(mapping, now_ms=now_ms) if mapping is not None else None

    def put(self, into: Converted, number: int, row: Row) -> None:
        """Put a row into the outcome; rows count from 1 below the header."""
        if isinstance(row, BadRow):
            into.refuse(number, msgspec.json.encode(row.cells), Reject.BAD_VALUE, row.reason)
            return
        item = msgspec.json.encode(row)
        if len(item) > EVENT_BYTES_MAX:
            detail = f"is {len(item)} bytes long, more than {EVENT_BYTES_MAX}"
            into.refuse(number, item, Reject.TOO_LARGE, detail)
        elif self._mapper is None or self._mapping is None:
            into.take(number, item, _plain(row))
        else:
            self._put_mapped(into, number, item, row, self._mapper, self._mapping)

    def _put_mapped(
        self, into: Converted, number: int, item: bytes, row: dict[str, Any], mapper: Mapper, mapping: FormatMapping
    ) -> None:
        name = first_of(row, mapping.name)
        rule = mapper.rule(str(name)) if name is not None else mapper.rule("*")
        rule = rule or (mapper.rule("*") if name is not None and str(name) not in mapping.events else None)
        if rule is None:
            into.ignored["not_mapped"] += 1
            return
        # The same row at the same place of the file is the same event.
        own_id = event_id_of(row.get("event_id")) or stable_id(number, row)
        mapper.put(into, number, item, row, rule, own_id)


def csv_text(body: bytes) -> Iterator[str]:
    """Lines of a CSV body, a byte order mark left out; raises FormatError when it is not UTF-8."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"The table is not UTF-8: {error.reason} at byte {error.start}.") from None
    return iter(io.StringIO(text, newline=""))


def from_rows(rows: Iterable[Row], reader: RowReader, *, rows_max: int, still_wanted: Callable[[], None]) -> Converted:
    """The rows of one request; raises FormatError."""
    converted = Converted()
    for number, row in enumerate(rows, start=1):
        if number > rows_max:
            raise TooManyError(f"A request takes {rows_max} rows; send several.")
        if number % _STEP_ROWS == 0:
            still_wanted()
        reader.put(converted, number, row)
    return converted


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for name, value in row.items():
        if name.startswith("lead."):
            below = event.setdefault("lead", {})
            below[name.removeprefix("lead.")] = _number(value) if name == "lead.form_seconds" else value
        else:
            event[name] = _whole(value) if name in _NUMBERS else _text(value) if name in KNOWN_FIELDS else value
    return event


def _whole(value: Any) -> Any:
    """The integer that a cell says; anything else stays, and is refused as what it is.

    >>> _whole("12"), _whole(12.0), _whole("1.5"), _whole("")
    (12, 12, '1.5', '')
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _DIGITS_MAX and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return value


def _text(value: Any) -> Any:
    """Ids that a table keeps as numbers are texts."""
    value = _whole(value) if isinstance(value, float) else value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
