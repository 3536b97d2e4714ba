"""The scanner: one line of JSON to the places of its fields, for lines that are certainly valid.

It never refuses anything: whatever is unusual (escapes, nesting, a bad value) makes it answer UNSURE, and
`schemas.decode.rows` decides. So the two can only differ where the scanner is sure, and tests hold them together.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.decode.instants import scan_instant
from schemas.decode.kernel import inlined, kernel
from schemas.decode.keys import (
    CHANNEL,
    DIGITS_MAX,
    EVENT_ID,
    FALS,
    LEAD,
    LENGTH_MAX,
    LENGTHS,
    LINE_WORDS,
    NULL,
    PLATFORM,
    REVENUE,
    SPANS,
    TRUE,
    TS,
    TYPE,
    UNKNOWN,
    field_of,
    is_event_id,
    is_listed,
    type_code,
)
from schemas.decode.memory import get, load, load_byte, put
from schemas.decode.words import HIGHS, ONES, U64, ZERO, count_bits, first_marked, keep
from schemas.events import MICROS_MAX

UNSURE: Final = -1

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COLON, _COMMA, _NEWLINE, _LETTER_E = b'"\\{}:,\ne'
_QUOTES: Final = ONES * U64(_QUOTE)
_BACKSLASHES: Final = ONES * U64(_BACKSLASH)
_NEWLINES: Final = ONES * U64(_NEWLINE)
_SPACES: Final = ONES * U64(0x20)


@inlined
def newline_after(base: int, at: int) -> int:
    """Place of the next newline; there must be one."""
    while True:
        word = load(base, at) ^ _NEWLINES
        marks = (word - ONES) & ~word & HIGHS
        if marks != ZERO:
            return at + first_marked(marks)
        at += 8


@kernel
def count_newlines(base: int, size: int) -> int:
    """How many newlines are among `size` bytes, a multiple of eight."""
    found = 0
    for at in range(0, size, 8):
        word = load(base, at) ^ _NEWLINES
        # High bit 0 only in zero bytes; no carry leaves a byte.
        found += count_bits(~(((word & ~HIGHS) + ~HIGHS) | word) & HIGHS)
    return found


@inlined
def skip_blank(base: int, at: int) -> int:
    """Place of the first byte that is no space, tab or carriage return."""
    byte = load_byte(base, at)
    while byte == 32 or byte == 9 or byte == 13:
        at += 1
        byte = load_byte(base, at)
    return at


@inlined
def _string_end(base: int, at: int, refused: np.uint64) -> int:
    """Place of the closing quote; UNSURE at an escape, a control character, or a high bit that is in `refused`.

    The lowest mark of each test is exact: only bytes above a true one can be marked by its borrow.
    """
    while True:
        word = load(base, at)
        quote = word ^ _QUOTES
        slash = word ^ _BACKSLASHES
        marks = ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | ((word - _SPACES) & ~word)
        marks = (marks & HIGHS) | (word & refused)
        if marks != ZERO:
            end = at + first_marked(marks)
            return end if load_byte(base, end) == _QUOTE else UNSURE
        at += 8


@inlined
def _scan_text(base: int, at: int, length: int, field: int, line: int) -> bool:
    """Note where a text is; False when it is not certainly valid."""
    if field == EVENT_ID:
        if not is_event_id(base, at, length):
            return False
    elif length > LENGTH_MAX[field]:
        return False
    if (field == CHANNEL or field == PLATFORM) and not is_listed(base, at, length, field):  # noqa: SIM109
        return False
    put(line, field, at)
    put(line, LENGTHS + field, length)
    return True


@inlined
def _scan_string(
    base: int,
    at: int,
    field: int,
    refused: np.uint64,
    line: int,
) -> int:
    """Read the string that is the field's value, `at` its opening quote; the place behind it, or UNSURE."""
    end = _string_end(base, at + 1, refused)
    if end == UNSURE:
        return UNSURE
    length = end - at - 1
    if field < SPANS:
        return end + 1 if _scan_text(base, at + 1, length, field, line) else UNSURE
    if field == UNKNOWN:
        return end + 1
    value = UNSURE
    if field == TS:
        value = scan_instant(base, at + 1, length)
    elif field == TYPE:
        value = type_code(base, at + 1, length)
    put(line, field, value)
    return end + 1 if value > 0 else UNSURE


@inlined
def _scan_digits(base: int, at: int, field: int, line: int) -> int:
    """Read an unsigned integer of at most DIGITS_MAX digits, the field's value; the place behind it, or UNSURE."""
    start = at
    value = 0
    digit = load_byte(base, at) - 48
    leading_zero = digit == 0
    while 0 <= digit <= 9 and at - start <= DIGITS_MAX:
        value = 10 * value + digit
        at += 1
        digit = load_byte(base, at) - 48
    if at == start or at - start > DIGITS_MAX or (leading_zero and at - start > 1):
        return UNSURE
    if field == UNKNOWN:
        return at
    if field < TS or field > REVENUE or (field > TS and value > MICROS_MAX):
        return UNSURE
    put(line, field, value)
    return at


@inlined
def _scan_word(base: int, at: int, field: int, line: int) -> int:
    """Read null, or true or false where nothing is known of the field; the place behind it, or UNSURE."""
    word = keep(load(base, at), 4)
    if word == NULL:
        if field < SPANS:
            put(line, LENGTHS + field, 0)
        elif field < LEAD:
            put(line, field, 0)
        return at + 4
    if field != UNKNOWN:
        return UNSURE
    if word == TRUE:
        return at + 4
    return at + 5 if word == FALS and load_byte(base, at + 4) == _LETTER_E else UNSURE


@inlined
def _scan_value(
    base: int,
    at: int,
    field: int,
    refused: np.uint64,
    line: int,
) -> int:
    """Read the field's value; the place behind it, or UNSURE."""
    if field == UNKNOWN:
        put(line, UNKNOWN, get(line, UNKNOWN) + 1)
    first = load_byte(base, at)
    if first == _QUOTE:
        return _scan_string(base, at, field, refused, line)
    if 48 <= first <= 57:
        return _scan_digits(base, at, field, line)
    return _scan_word(base, at, field, line)


@inlined
def scan_line(
    base: int,
    at: int,
    refused: np.uint64,
    line: int,
) -> int:
    """Read the object that is the line at `at`; the place of the newline behind it, or UNSURE.

    `refused`: HIGHS when bytes above ASCII may be bad UTF-8, else 0. `line`: address of LINE_WORDS words to fill.
    """
    for field in range(TYPE, LINE_WORDS):
        put(line, field, 0)
    at = skip_blank(base, at)
    if load_byte(base, at) != _OPEN:
        return UNSURE
    while True:
        at = skip_blank(base, at + 1)
        # Not beyond the line where no key begins: behind a newline may be the end of the memory.
        if load_byte(base, at) != _QUOTE:
            return UNSURE
        end = _string_end(base, at + 1, refused)
        if end == UNSURE:
            return UNSURE
        field = field_of(base, at + 1, end - at - 1)
        at = skip_blank(base, end + 1)
        if load_byte(base, at) != _COLON:
            return UNSURE
        at = _scan_value(base, skip_blank(base, at + 1), field, refused, line)
        if at == UNSURE:
            return UNSURE
        at = skip_blank(base, at)
        if load_byte(base, at) != _COMMA:
            break
    if load_byte(base, at) != _CLOSE:
        return UNSURE
    at = skip_blank(base, at + 1)
    return at if load_byte(base, at) == _NEWLINE else UNSURE
