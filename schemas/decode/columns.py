"""From the places of a line's fields to its row: hashes, numbers, and the code of its series."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.batch import FEATURE_FIELDS
from schemas.decode.kernel import inlined, kernel
from schemas.decode.keys import (
    CAMPAIGN_ID,
    COST,
    EVENT_ID,
    LENGTHS,
    LINE_WORDS,
    ORG_ID,
    REVENUE,
    SPAN_FIELDS,
    SPANS,
    TS,
    TYPE,
    UNKNOWN,
)
from schemas.decode.memory import get, get32, get_word, load, put, put8, put32, put_word
from schemas.decode.scan import UNSURE, newline_after, scan_line, skip_blank
from schemas.decode.words import (
    SEED_ADDRESS,
    SEED_DEVICE,
    SEED_FIELD,
    SEED_HIGH,
    SEED_LOW,
    SEED_USER,
    U64,
    ZERO,
    fold32,
    hash_text,
    keep,
    mix,
    signed,
)
from schemas.events import EVENT_BYTES_MAX, TS_MS_MIN, EventType

# What became of a line.
BLANK: Final = 0
SURE: Final = 1
DOUBTFUL: Final = 2

# Fields of a series key, in the order of SeriesKey.
SERIES_FIELDS: Final = tuple(
    SPAN_FIELDS.index(field) for field in ("org_id", "campaign_id", "creative_id", "channel", "country", "device")
)
_FEATURES: Final = tuple(SPAN_FIELDS.index(field) for field in FEATURE_FIELDS)
_SERIES_FEATURES: Final = tuple(FEATURE_FIELDS.index(f) for f in ("creative_id", "channel", "country", "device"))
_USER_ID: Final = SPAN_FIELDS.index("user_id")
_DEVICE_ID: Final = SPAN_FIELDS.index("device_id")
_IP: Final = SPAN_FIELDS.index("ip")
_USER_AGENT: Final = SPAN_FIELDS.index("user_agent")
_IMPRESSION_ID: Final = SPAN_FIELDS.index("impression_id")
_CLICK_ID: Final = SPAN_FIELDS.index("click_id")
_IMPRESSION: Final = EventType.IMPRESSION.value
_CLICK: Final = EventType.CLICK.value
_LEAD: Final = EventType.LEAD.value


class Source(NamedTuple):
    """Text to scan: two addresses, so that loads past the last lines stay in memory that is ours.

    Places count from the payload's start in both; lines from `tail_start` on are read in a padded copy.
    """

    base: int
    tail_base: int
    tail_start: int
    # High bits that strings may not have: all of them when the payload is not valid UTF-8.
    refused: np.uint64


class Terms(NamedTuple):
    """What holds for all lines of a chunk."""

    ts_ms_max: int
    # Hash of the organisation of lines that name none.
    org_hash: np.uint64
    # Address and length of the only organisation that lines may name; length 0: they may name any.
    org_address: int
    org_length: int
    # Whether lines with unknown fields are left to the row decoder, which keeps them.
    keep_extra: bool


class Rows(NamedTuple):
    """Addresses of columns; `texts` is 0, or takes two words a text: its address and length."""

    type: int
    ts_ms: int
    cost_micros: int
    revenue_micros: int
    id_hi: int
    id_lo: int
    actor: int
    ref: int
    features: int
    series_code: int
    texts: int


class Dictionary(NamedTuple):
    """Addresses of the distinct series: an open hash table of codes (-1: free); by code, hash and places of texts."""

    # 0: nobody asks for codes.
    slots: int
    mask: int
    hashes: int
    # Of codes from `first` on: 2 * len(SERIES_FIELDS) words, start and length of each text.
    places: int
    first: int
    # How many there are.
    distinct: int


@inlined
def _same_text(one: int, other: int, length: int) -> bool:
    """Whether as many bytes at two addresses are equal."""
    while length > 0:
        if keep(load(one, 0), length) != keep(load(other, 0), length):
            return False
        one += 8
        other += 8
        length -= 8
    return True


@inlined
def _is_event(base: int, line: int, terms: Terms) -> bool:
    """Whether required fields are there and agree with the terms; each by itself is valid."""
    kind = get(line, TYPE)
    ts_ms = get(line, TS)
    if kind == 0 or get(line, LENGTHS + EVENT_ID) == 0 or ts_ms < TS_MS_MIN or ts_ms > terms.ts_ms_max:
        return False
    if get(line, LENGTHS + CAMPAIGN_ID) == 0 and kind != _LEAD:
        return False
    if terms.org_length > 0 and get(line, LENGTHS + ORG_ID) > 0:
        same_length = get(line, LENGTHS + ORG_ID) == terms.org_length
        return same_length and _same_text(base + get(line, ORG_ID), terms.org_address, terms.org_length)
    return not (terms.keep_extra and get(line, UNKNOWN) > 0)


@inlined
def _hash_of(base: int, line: int, field: int, seed: np.uint64) -> np.uint64:
    """Hash of a field, 0 when it is absent."""
    length = get(line, LENGTHS + field)
    return hash_text(base, get(line, field), length, seed) if length > 0 else ZERO


@inlined
def _actor(base: int, line: int, org: np.uint64) -> np.uint64:
    """The person: user_id, else device_id, else ip with user agent."""
    if get(line, LENGTHS + _USER_ID) > 0:
        return _hash_of(base, line, _USER_ID, mix(org, SEED_USER))
    if get(line, LENGTHS + _DEVICE_ID) > 0:
        return _hash_of(base, line, _DEVICE_ID, mix(org, SEED_DEVICE))
    if get(line, LENGTHS + _IP) == 0:
        return ZERO
    seed = mix(mix(org, SEED_ADDRESS), _hash_of(base, line, _USER_AGENT, SEED_FIELD))
    return _hash_of(base, line, _IP, seed)


@inlined
def _named_field(line: int) -> int:
    """The field by which an event names the one before it: a click its impression, a conversion or lead its click."""
    kind = get(line, TYPE)
    if kind == _IMPRESSION:
        return -1
    if kind == _CLICK or get(line, LENGTHS + _CLICK_ID) == 0:
        return _IMPRESSION_ID
    return _CLICK_ID


@inlined
def _code_of(series: np.uint64, line: int, dictionary: Dictionary) -> int:
    """The code of a series, the next one for a series that is new."""
    slot = signed(series) & dictionary.mask
    code = get32(dictionary.slots, slot)
    while code >= 0:
        if get_word(dictionary.hashes, code) == series:
            return code
        slot = (slot + 1) & dictionary.mask
        code = get32(dictionary.slots, slot)
    code = get(dictionary.distinct, 0)
    put(dictionary.distinct, 0, code + 1)
    put32(dictionary.slots, slot, code)
    put_word(dictionary.hashes, code, series)
    for place in range(len(SERIES_FIELDS)):
        field = SERIES_FIELDS[place]
        at = 2 * (len(SERIES_FIELDS) * (code - dictionary.first) + place)
        put(dictionary.places, at, get(line, field))
        put(dictionary.places, at + 1, get(line, LENGTHS + field))
    return code


@inlined
def _put_features(base: int, row: int, line: int, org: np.uint64, rows: Rows) -> np.uint64:
    """Fill the row's features; the hash of its series."""
    series = mix(org, _hash_of(base, line, CAMPAIGN_ID, SEED_FIELD))
    for place in range(len(_FEATURES)):
        value = _hash_of(base, line, _FEATURES[place], SEED_FIELD)
        put32(rows.features, len(_FEATURES) * row + place, signed(fold32(value)))
        if place in _SERIES_FEATURES:
            series = mix(series, value)
    return series


@inlined
def put_row(base: int, row: int, line: int, terms: Terms, rows: Rows, dictionary: Dictionary) -> None:
    """Fill one row from what the scanner found."""
    named_org = _hash_of(base, line, ORG_ID, SEED_FIELD)
    org = terms.org_hash if named_org == ZERO else named_org
    low_seed = mix(org, SEED_LOW)
    named = _named_field(line)
    put8(rows.type, row, get(line, TYPE))
    put(rows.ts_ms, row, get(line, TS))
    put(rows.cost_micros, row, get(line, COST))
    put(rows.revenue_micros, row, get(line, REVENUE))
    put_word(rows.id_hi, row, _hash_of(base, line, EVENT_ID, mix(org, SEED_HIGH)))
    put_word(rows.id_lo, row, _hash_of(base, line, EVENT_ID, low_seed))
    put_word(rows.actor, row, _actor(base, line, org))
    put_word(rows.ref, row, ZERO if named < 0 else _hash_of(base, line, named, low_seed))
    series = _put_features(base, row, line, org, rows)
    if dictionary.slots != 0:
        put32(rows.series_code, row, _code_of(series, line, dictionary))
    if rows.texts != 0:
        for field in range(SPANS):
            put(rows.texts, 2 * (SPANS * row + field), base + get(line, field))
            put(rows.texts, 2 * (SPANS * row + field) + 1, get(line, LENGTHS + field))


@inlined
def _state_of(base: int, start: int, end: int, line: int, terms: Terms) -> int:
    """What became of the line from start; end is its newline when the scanner was sure, else UNSURE."""
    if end != UNSURE and end - start <= EVENT_BYTES_MAX and _is_event(base, line, terms):
        return SURE
    blank_to = skip_blank(base, start)
    return BLANK if newline_after(base, blank_to) == blank_to else DOUBTFUL


@kernel
def scan_chunk(
    source: Source,
    terms: Terms,
    rows: Rows,
    dictionary: Dictionary,
    line: int,
    ends: NDArray[np.int64],
    states: NDArray[np.uint8],
) -> None:
    """Fill the rows of all lines that are surely events; for every line the place of its newline and its state.

    `line`: address of LINE_WORDS words to work with.
    """
    at = 0
    for row in range(ends.shape[0]):
        base = source.base if at < source.tail_start else source.tail_base
        end = scan_line(base, at, source.refused, line)
        state = _state_of(base, at, end, line, terms)
        if state == SURE:
            put_row(base, row, line, terms, rows, dictionary)
        else:
            end = newline_after(base, at)
        states[row] = state
        ends[row] = end
        at = end + 1


@kernel
def put_rows(
    base: int, places: NDArray[np.int64], lines: int, terms: Terms, rows: Rows, dictionary: Dictionary
) -> None:
    """Fill the rows at `places` from lines that the row decoder read: LINE_WORDS words each from address `lines` on."""
    for k in range(places.shape[0]):
        put_row(base, places[k], lines + 8 * LINE_WORDS * k, terms, rows, dictionary)


@kernel
def put_codes(hashes: NDArray[np.uint64], slots: NDArray[np.int32]) -> None:
    """Fill an empty hash table with the codes of the series there are."""
    mask = slots.shape[0] - 1
    for code in range(hashes.shape[0]):
        slot = signed(hashes[code]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = code


@kernel
def _text_hash(address: int, length: int) -> np.uint64:
    """Hash of a field's text."""
    return hash_text(address, 0, length, SEED_FIELD)


@kernel
def _text_feature(address: int, length: int) -> np.uint32:
    """The feature that stands for a text."""
    return fold32(hash_text(address, 0, length, SEED_FIELD))


def organisation_hash(org_id: str) -> np.uint64:
    """The hash that stands for an organisation in the hashes of its events."""
    text = np.frombuffer(org_id.encode() + bytes(16), np.uint8)
    return U64(_text_hash(text.ctypes.data, len(text) - 16))


def feature_hash(text: str) -> int:
    """What `EventBatch.features` holds for a field with this text; 0 for the empty string.

    >>> feature_hash(""), 0 < feature_hash("mobile") < 2**32
    (0, True)
    """
    padded = np.frombuffer(text.encode() + bytes(16), np.uint8)
    return int(_text_feature(padded.ctypes.data, len(padded) - 16)) if text else 0
