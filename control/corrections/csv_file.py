"""Corrections from a CSV file, as people's spreadsheets write it: every line gets an answer. No I/O.

Amounts are never guessed: what could be meant in two ways is refused with the way to write it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from control.corrections.given import Given, GivenCause
from schemas.corrections import COUNTERS

# 100,000 lines of an invoice are some 8 MB.
FILE_BYTES_MAX: Final = 16 * 2**20
LINES_MAX: Final = 100_000
LINE_CHARS_MAX: Final = 4_000
_SEPARATORS: Final = ",;\t"
_UNITS: Final = {"spend": "spend_micros", "revenue": "revenue_micros", "invoiced": "invoiced_micros"}
_NUMBERS: Final = (*COUNTERS, "invoiced_micros")
_TEXTS: Final = (
    "campaign_id",
    "reference",
    "currency",
    "creative_id",
    "channel",
    "country",
    "device",
    "event_id",
    "note",
)
COLUMNS: Final = ("campaign_id", "day", "ts", "cause", "reference", *_NUMBERS, *_UNITS, *_TEXTS[2:])
_WHOLE: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_AMOUNT: Final = re.compile(r"([+-]?)(\d{1,13})(?:\.(\d{1,6}))?", re.ASCII)
# What a spreadsheet puts before a text that it would take for a formula.
_QUOTE: Final = "'"


class CsvError(ValueError):
    """The file as a whole cannot be taken; the message says how to write it."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that says nothing that can be applied, and why."""

    line: int
    reference: str
    detail: str


def read_csv(content: bytes) -> Iterator[tuple[int, Given] | BadLine]:
    """Each line (by its number in the file, the head is 1) as a correction, or why it is none. Raises CsvError."""
    text = _text(content)
    separator = _separator(text)
    rows = csv.reader(_bounded(text), delimiter=separator, strict=True)
    try:
        head = _head(next(rows, []))
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            yield _line(rows.line_num, head, row, separator)
    except csv.Error as error:
        raise CsvError(f"line {rows.line_num} is no CSV: {error}") from None


def _text(content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        raise CsvError(f"the file has {len(content):,} bytes, more than {FILE_BYTES_MAX:,}: cut it into several")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1_000]:
        raise CsvError("the file is UTF-16 or no text: save it as `CSV UTF-8`")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CsvError(f"byte {error.start} is not UTF-8: save the file as `CSV UTF-8`") from None


def _separator(text: str) -> str:
    head = text.partition("\n")[0]
    if head.lower().startswith("sep="):
        raise CsvError("the first line names the columns: take the line `sep=` away")
    return max(_SEPARATORS, key=head.count)


def _bounded(text: str) -> Iterator[str]:
    start, number = 0, 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        number += 1
        if number > LINES_MAX + 1:
            raise CsvError(f"the file has more than {LINES_MAX:,} lines: cut it into several")
        if end - start > LINE_CHARS_MAX:
            raise CsvError(f"line {number} has more than {LINE_CHARS_MAX:,} characters")
        yield text[start:end]
        start = end


def _head(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    if unknown := [name for name in names if name not in COLUMNS]:
        raise CsvError(f"there is no column {unknown[0]!r}; the first line names columns of {', '.join(COLUMNS)}")
    if twice := [name for name in set(names) if names.count(name) > 1]:
        raise CsvError(f"column {twice[0]} stands there twice")
    for unit, micros in _UNITS.items():
        if unit in names and micros in names:
            raise CsvError(f"{unit} is in units of the currency and {micros} in millionths: keep one of them")
    if "campaign_id" not in names or not {"day", "ts"} & set(names):
        raise CsvError("a correction needs the columns campaign_id, and day or ts")
    return names


def _line(number: int, head: list[str], row: list[str], separator: str) -> tuple[int, Given] | BadLine:
    cells = {name: cell.strip() for name, cell in zip(head, row, strict=False) if cell.strip()}
    reference = cells.get("reference", "").removeprefix(_QUOTE)
    try:
        if len(row) != len(head):
            raise ValueError(
                f"it has {len(row)} cells and the first line {len(head)}; quote a text with a {separator!r}"
            )
        return number, Given.model_validate(_given(cells, separator))
    except ValidationError as error:
        return BadLine(number, reference, "; ".join(_told(each) for each in error.errors(include_url=False)[:3]))
    except ValueError as error:
        return BadLine(number, reference, str(error))


def _told(error: Any) -> str:
    field = ".".join(map(str, error["loc"]))
    words = str(error["msg"]).removeprefix("Value error, ")
    return f"{field}: {words}" if field else words


def _given(cells: dict[str, str], separator: str) -> dict[str, Any]:
    given: dict[str, Any] = {name: cells[name].removeprefix(_QUOTE) for name in _TEXTS if name in cells}
    given |= {name: _whole(name, cells[name]) for name in _NUMBERS if name in cells}
    given |= {micros: _micros(unit, cells[unit], separator) for unit, micros in _UNITS.items() if unit in cells}
    given["cause"] = cells.get("cause", GivenCause.PLATFORM_INVOICE.value)
    if "day" in cells:
        given["day"] = _day(cells["day"])
    if "ts" in cells:
        given["ts_ms"] = _ts_ms(cells["ts"])
    given.setdefault("reference", _reference(given))
    return given


def _reference(given: dict[str, Any]) -> str:
    """What the line says: the same line is the same correction, in whatever file."""
    said = "\x1f".join(f"{name}={given[name]}" for name in sorted(given) if name not in ("note", "currency"))
    return f"csv:{hashlib.blake2b(said.encode(), digest_size=12).hexdigest()}"


def _whole(name: str, cell: str) -> int:
    """A whole number, with its sign.

    >>> _whole("clicks", "-12")
    -12
    """
    if _WHOLE.fullmatch(cell) is None:
        raise ValueError(f"{name}: {cell[:40]!r} is no whole number such as -12")
    return int(cell)


def _micros(name: str, cell: str, separator: str) -> int:
    """Micros of an amount in units of a currency.

    In a file separated by semicolons a comma is the decimal mark, as spreadsheets write it there, and a point might
    stand for thousands.

    >>> _micros("spend", "-12.5", ","), _micros("spend", "-12,5", ";")
    (-12500000, -12500000)
    """
    if separator == ";" and "." in cell:
        raise ValueError(f"{name}: {cell[:40]!r} might have thousands; between semicolons write 1234,56")
    written = cell.replace(",", ".") if separator == ";" else cell
    found = _AMOUNT.fullmatch(written)
    if found is None:
        way = "1234,56" if separator == ";" else "1234.56"
        raise ValueError(f"{name}: {cell[:40]!r} is no amount such as {way} (no thousands marks, six decimals at most)")
    sign, whole, decimals = found.groups()
    micros = int(whole) * 1_000_000 + int((decimals or "").ljust(6, "0") or 0)
    return -micros if sign == "-" else micros


def _day(cell: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", cell, re.ASCII) is None:
        raise ValueError(f"day: {cell[:40]!r} is no day such as 2026-03-31")
    return cell


def _ts_ms(cell: str) -> int:
    if cell.isascii() and cell.isdigit() and len(cell) < 16:
        return int(cell)
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"ts: {cell[:40]!r} is no time such as 2026-03-31T09:00:00Z, or ms since 1970") from None
    if moment.tzinfo is None:
        raise ValueError(f"ts: {cell[:40]!r} has no zone; write 2026-03-31T09:00:00Z")
    return round(moment.timestamp() * 1_000)


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and no terminal for a command.

    >>> safe_cell("=1+1"), safe_cell("-5 clicks"), safe_cell("plain")
    ("'=1+1", "'-5 clicks", 'plain')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"{_QUOTE}{shown}" if shown.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) else shown
