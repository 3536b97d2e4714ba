"""The fields of an event as codes, and what is known about their keys and values: eight bytes at a time."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.decode.kernel import inlined
from schemas.decode.memory import load
from schemas.decode.rows import CHECKS, is_identifier
from schemas.decode.tables import (
    NAME_BYTES_MAX,
    key_table,
    listed_words,
    require_fields,
    require_numbers,
    require_order,
    require_pattern,
    require_types,
    word_of,
)
from schemas.decode.words import HIGHS, ONES, U64, ZERO, keep
from schemas.events import (
    CHANNELS,
    EVENT_ID_PATTERN,
    ID_BYTES_MAX,
    MICROS_MAX,
    PLATFORMS,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    TS_MS_MAX,
    TS_MS_MIN,
    EventType,
)

# Codes of fields: places in `starts` and `lengths`, then those with a value in `numbers`.
SPAN_FIELDS: Final = (*TEXT_FIELDS, "event_id", "org_id", "campaign_id")
SPANS: Final = len(SPAN_FIELDS)
EVENT_ID: Final = SPAN_FIELDS.index("event_id")
ORG_ID: Final = SPAN_FIELDS.index("org_id")
CAMPAIGN_ID: Final = SPAN_FIELDS.index("campaign_id")
CHANNEL: Final = SPAN_FIELDS.index("channel")
PLATFORM: Final = SPAN_FIELDS.index("platform")
TYPE: Final = SPANS
TS: Final = SPANS + 1
COST: Final = SPANS + 2
REVENUE: Final = SPANS + 3
LEAD: Final = SPANS + 4
UNKNOWN: Final = SPANS + 5
_KEYS: Final = (*SPAN_FIELDS, "type", "ts", "cost_micros", "revenue_micros", "lead")
# What the scanner notes of a line, as 64-bit words: by field code the start of its text or its number (of UNKNOWN: how
# many such fields there are), and from LENGTHS on the lengths of texts. Of an absent field, length or number is 0.
LENGTHS: Final = UNKNOWN + 1
LINE_WORDS: Final = LENGTHS + SPANS

# Digits of a number that the scanner reads: any so long fits 64 bits.
DIGITS_MAX: Final = 18

LENGTH_MAX: Final = tuple(
    ID_BYTES_MAX if field in ("org_id", "campaign_id") or is_identifier(field) else TEXT_BYTES_MAX
    for field in SPAN_FIELDS
)

require_order((*range(SPANS), TYPE, TS, COST, REVENUE, LEAD, UNKNOWN))
require_fields(_KEYS, CHECKS)
require_numbers((TS_MS_MIN, TS_MS_MAX), MICROS_MAX, DIGITS_MAX)

_CASE_BITS: Final = ONES * U64(0x20)
_LETTERS_A: Final = ONES * U64(0x61)
# What an event id may have besides letters: ranges of bytes, which `is_event_id` has written out.
_ID_RANGES: Final = ((0x2D, 0x2E), (0x30, 0x3A), (0x5F, 0x5F))
EVENT_ID_BYTES_MAX: Final = 64
require_pattern(EVENT_ID_PATTERN, _ID_RANGES, EVENT_ID_BYTES_MAX)

NULL: Final = U64(word_of("null"))
TRUE: Final = U64(word_of("true"))
FALS: Final = U64(word_of("fals"))

# What `type_code` has written out: a table of them costs more than the comparisons.
_IMPRESSION: Final = U64(word_of("impression"))
_CONVERSION: Final = U64(word_of("conversion"))
_ON: Final = U64(word_of("on"))
_CLICK: Final = U64(word_of("click"))
_LEAD_WORD: Final = U64(word_of("lead"))
require_types({kind.wire: kind.value for kind in EventType}, {"impression": 1, "click": 2, "conversion": 3, "lead": 4})
# Row 0 has the channels, row 1 the platforms; their first words, and those behind.
_LISTED: Final = listed_words({"channel": CHANNELS, "platform": PLATFORMS})
_LISTED_FIRST: Final = np.ascontiguousarray(_LISTED[:, :, 0])
_LISTED_REST: Final = np.ascontiguousarray(_LISTED[:, :, 1])

# Keys differ in their first eight bytes; a multiplication spreads those over so many places without collision.
SLOT_BITS: Final = 7
_TABLE: Final = key_table(_KEYS, SLOT_BITS)
_MULTIPLIER: Final = _TABLE.multiplier
_SLOT_SHIFT: Final = _TABLE.shift
_SLOT_FIRST: Final = _TABLE.first
_SLOT_REST: Final = _TABLE.rest
_SLOT_LENGTH: Final = _TABLE.length
_SLOT_CODE: Final = _TABLE.code


@inlined
def field_of(base: int, at: int, length: int) -> int:
    """Code of the field with this key."""
    first = keep(load(base, at), length)
    slot = np.int64((first * _MULTIPLIER) >> _SLOT_SHIFT)
    if _SLOT_LENGTH[slot] != length or _SLOT_FIRST[slot] != first:
        return UNKNOWN
    if length > 8 and _SLOT_REST[slot] != keep(load(base, at + 8), length - 8):
        return UNKNOWN
    return _SLOT_CODE[slot]  # type: ignore[no-any-return]


@inlined
def _between(word: np.uint64, low: int, high: int) -> np.uint64:
    """High bits of the bytes from `low` to `high`; all bytes must be ASCII."""
    return (word + ONES * U64(0x80 - low)) & ~(word + ONES * U64(0x7F - high))


@inlined
def is_event_id(base: int, at: int, length: int) -> bool:
    """Whether the bytes are 1 to 64 of A-Z a-z 0-9 _ . : -"""
    if length < 1 or length > EVENT_ID_BYTES_MAX:
        return False
    wrong = ZERO
    while length > 0:
        word = load(base, at)
        if length < 8:
            word = keep(word, length) | (_LETTERS_A << U64(8 * length))
        letters = _between((word & ~HIGHS) | _CASE_BITS, 0x61, 0x7A)
        # _ID_RANGES, written out: a loop over them costs a tenth of the whole scan.
        others = _between(word & ~HIGHS, 0x2D, 0x2E) | _between(word & ~HIGHS, 0x30, 0x3A)
        others |= _between(word & ~HIGHS, 0x5F, 0x5F)
        wrong |= (~(letters | others) | word) & HIGHS
        at += 8
        length -= 8
    return bool(wrong == ZERO)


@inlined
def type_code(base: int, at: int, length: int) -> int:
    """Code of an event type, 0 for none."""
    word = keep(load(base, at), length)
    if length == 10 and keep(load(base, at + 8), 2) == _ON:
        if word == _IMPRESSION:
            return 1
        return 3 if word == _CONVERSION else 0
    if length == 5 and word == _CLICK:
        return 2
    return 4 if length == 4 and word == _LEAD_WORD else 0


@inlined
def is_listed(base: int, at: int, length: int, field: int) -> bool:
    """Whether a channel or platform is one of those there are, or empty."""
    if length == 0:
        return True
    if length > NAME_BYTES_MAX:
        return False
    first = keep(load(base, at), length)
    rest = keep(load(base, at + 8), length - 8) if length > 8 else ZERO
    row = 0 if field == CHANNEL else 1
    found = False
    for place in range(_LISTED_FIRST.shape[1]):
        found |= (_LISTED_FIRST[row, place] == first) & (_LISTED_REST[row, place] == rest)
    return found
