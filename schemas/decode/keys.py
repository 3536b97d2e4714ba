"""The fields of an event as codes, and what is known about their keys and values: eight bytes at a time."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.decode.kernel import inlined
from schemas.decode.memory import load
from schemas.decode.rows import is_identifier
from schemas.decode.words import HIGHS, ONES, U64, ZERO, keep
from schemas.events import CHANNELS, ID_BYTES_MAX, PLATFORMS, TEXT_BYTES_MAX, TEXT_FIELDS

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

LENGTH_MAX: Final = tuple(
    ID_BYTES_MAX if field in ("org_id", "campaign_id") or is_identifier(field) else TEXT_BYTES_MAX
    for field in SPAN_FIELDS
)

_CASE_BITS: Final = ONES * U64(0x20)
_LETTERS_A: Final = ONES * U64(0x61)


def _word(text: str, at: int = 0) -> np.uint64:
    return U64(int.from_bytes(text.encode()[at : at + 8], "little"))


NULL: Final = _word("null")
TRUE: Final = _word("true")
FALS: Final = _word("fals")
_IMPRESSION: Final = _word("impression")
_CONVERSION: Final = _word("conversion")
_ON: Final = _word("on")
_CLICK: Final = _word("click")
_LEAD_WORD: Final = _word("lead")
# Every channel and platform is at most eight bytes long; row 0 has the channels.
_LISTED: Final = np.zeros((2, max(len(CHANNELS), len(PLATFORMS))), np.uint64)
_LISTED[0, : len(CHANNELS)] = [_word(name) for name in CHANNELS]
_LISTED[1, : len(PLATFORMS)] = [_word(name) for name in PLATFORMS]

# Keys differ in their first eight bytes; a multiplication spreads those over _SLOTS places without collision.
_SLOT_BITS: Final = 7
_SLOT_SHIFT: Final = U64(64 - _SLOT_BITS)


def _slot_of(first: int, multiplier: int) -> int:
    return (first * multiplier & 0xFFFFFFFFFFFFFFFF) >> (64 - _SLOT_BITS)


def _multiplier() -> int:
    firsts = [int(_word(key)) for key in _KEYS]
    candidate = 0x9E3779B97F4A7C15
    while len({_slot_of(first, candidate) for first in firsts}) < len(firsts):
        candidate = (candidate * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF | 1
    return candidate


_MULTIPLIER: Final = U64(_multiplier())
_SLOT_FIRST: Final = np.zeros(1 << _SLOT_BITS, np.uint64)
_SLOT_REST: Final = np.zeros(1 << _SLOT_BITS, np.uint64)
_SLOT_LENGTH: Final = np.full(1 << _SLOT_BITS, -1, np.int64)
_SLOT_FIELD: Final = np.zeros(1 << _SLOT_BITS, np.int64)
for _code, _key in enumerate(_KEYS):
    _slot = _slot_of(int(_word(_key)), int(_MULTIPLIER))
    _SLOT_FIRST[_slot], _SLOT_REST[_slot] = _word(_key), _word(_key, 8)
    _SLOT_LENGTH[_slot], _SLOT_FIELD[_slot] = len(_key), _code


@inlined
def field_of(base: int, at: int, length: int) -> int:
    """Code of the field with this key."""
    first = keep(load(base, at), length)
    slot = np.int64((first * _MULTIPLIER) >> _SLOT_SHIFT)
    if _SLOT_LENGTH[slot] != length or _SLOT_FIRST[slot] != first:
        return UNKNOWN
    if length > 8 and _SLOT_REST[slot] != keep(load(base, at + 8), length - 8):
        return UNKNOWN
    return _SLOT_FIELD[slot]  # type: ignore[no-any-return]


@inlined
def _between(word: np.uint64, low: int, high: int) -> np.uint64:
    """High bits of the bytes from `low` to `high`; all bytes must be ASCII."""
    return (word + ONES * U64(0x80 - low)) & ~(word + ONES * U64(0x7F - high))


@inlined
def is_event_id(base: int, at: int, length: int) -> bool:
    """Whether the bytes are 1 to 64 of A-Z a-z 0-9 _ . : -"""
    if length < 1 or length > 64:
        return False
    wrong = ZERO
    while length > 0:
        word = load(base, at)
        if length < 8:
            word = keep(word, length) | (_LETTERS_A << U64(8 * length))
        letters = _between((word & ~HIGHS) | _CASE_BITS, 0x61, 0x7A)
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
    if length > 8:
        return False
    word = keep(load(base, at), length)
    row = 0 if field == CHANNEL else 1
    found = False
    for place in range(_LISTED.shape[1]):
        found |= word == _LISTED[row, place]
    return found
