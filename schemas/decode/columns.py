"""From the places of a line's fields to its row: hashes, numbers, and the code of its series."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.batch import FEATURE_FIELDS
from schemas.decode.kernel import kernel
from schemas.decode.keys import (
    CAMPAIGN_ID,
    COST,
    EVENT_ID,
    NUMBERS,
    ORG_ID,
    REVENUE,
    SPAN_FIELDS,
    SPANS,
    TS,
    TYPE,
    UNKNOWN_COUNT,
)
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
    load,
    mix,
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
    size: int
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
    """Columns of n rows, and where the fields of each are in the text (no rows when nobody asks)."""

    type: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    features: NDArray[np.uint32]
    series_code: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]


class Dictionary(NamedTuple):
    """Distinct series: an open hash table of codes, and by code the hash and the places of the six texts."""

    slots: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    distinct: NDArray[np.int64]


class Line(NamedTuple):
    """What the scanner found in one line: place and length of each text, and the numbers."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    numbers: NDArray[np.int64]


@kernel
def _same_text(one: int, other: int, length: int) -> bool:
    """Whether as many bytes at two addresses are equal."""
    while length > 0:
        if keep(load(one, 0), length) != keep(load(other, 0), length):
            return False
        one += 8
        other += 8
        length -= 8
    return True


@kernel
def _is_event(base: int, line: Line, terms: Terms) -> bool:
    """Whether required fields are there and agree with the terms; each by itself is valid."""
    kind = line.numbers[0]
    ts_ms = line.numbers[TS - TYPE]
    if kind == 0 or line.lengths[EVENT_ID] == 0 or ts_ms < TS_MS_MIN or ts_ms > terms.ts_ms_max:
        return False
    if line.lengths[CAMPAIGN_ID] == 0 and kind != _LEAD:
        return False
    if terms.org_length > 0 and line.lengths[ORG_ID] > 0:
        same_length = line.lengths[ORG_ID] == terms.org_length
        return same_length and _same_text(base + line.starts[ORG_ID], terms.org_address, terms.org_length)
    return not (terms.keep_extra and line.numbers[UNKNOWN_COUNT] > 0)


@kernel
def _hash_of(base: int, line: Line, field: int, seed: np.uint64) -> np.uint64:
    """Hash of a field, 0 when it is absent."""
    length = line.lengths[field]
    return hash_text(base, line.starts[field], length, seed) if length > 0 else ZERO


@kernel
def _actor(base: int, line: Line, org: np.uint64) -> np.uint64:
    """The person: user_id, else device_id, else ip with user agent."""
    if line.lengths[_USER_ID] > 0:
        return _hash_of(base, line, _USER_ID, mix(org, SEED_USER))
    if line.lengths[_DEVICE_ID] > 0:
        return _hash_of(base, line, _DEVICE_ID, mix(org, SEED_DEVICE))
    if line.lengths[_IP] == 0:
        return ZERO
    seed = mix(mix(org, SEED_ADDRESS), _hash_of(base, line, _USER_AGENT, SEED_FIELD))
    return _hash_of(base, line, _IP, seed)


@kernel
def _named_field(line: Line) -> int:
    """The field by which an event names the one before it: a click its impression, a conversion or lead its click."""
    kind = line.numbers[0]
    if kind == _IMPRESSION:
        return -1
    if kind == _CLICK or line.lengths[_CLICK_ID] == 0:
        return _IMPRESSION_ID
    return _CLICK_ID


@kernel
def _code_of(series: np.uint64, line: Line, dictionary: Dictionary) -> np.int64:
    """The code of a series, a new one for a series not seen in this chunk."""
    mask = dictionary.slots.shape[0] - 1
    slot = np.int64(series) & mask
    while dictionary.slots[slot] >= 0:
        code = dictionary.slots[slot]
        if dictionary.hashes[code] == series:
            return np.int64(code)
        slot = (slot + 1) & mask
    code = np.int32(dictionary.distinct[0])
    dictionary.distinct[0] += 1
    dictionary.slots[slot] = code
    dictionary.hashes[code] = series
    for place in range(len(SERIES_FIELDS)):
        dictionary.starts[code, place] = line.starts[SERIES_FIELDS[place]]
        dictionary.lengths[code, place] = line.lengths[SERIES_FIELDS[place]]
    return np.int64(code)


@kernel
def _put_features(base: int, row: int, line: Line, org: np.uint64, rows: Rows) -> np.uint64:
    """Fill the row's features; the hash of its series."""
    series = mix(org, _hash_of(base, line, CAMPAIGN_ID, SEED_FIELD))
    for place in range(len(_FEATURES)):
        value = _hash_of(base, line, _FEATURES[place], SEED_FIELD)
        rows.features[row, place] = fold32(value)
        if place in _SERIES_FEATURES:
            series = mix(series, value)
    return series


@kernel
def put_row(base: int, row: int, line: Line, terms: Terms, rows: Rows, dictionary: Dictionary) -> None:
    """Fill one row from what the scanner found."""
    named_org = _hash_of(base, line, ORG_ID, SEED_FIELD)
    org = terms.org_hash if named_org == ZERO else named_org
    low_seed = mix(org, SEED_LOW)
    named = _named_field(line)
    rows.type[row] = line.numbers[0]
    rows.numbers[0, row] = line.numbers[TS - TYPE]
    rows.numbers[1, row] = line.numbers[COST - TYPE]
    rows.numbers[2, row] = line.numbers[REVENUE - TYPE]
    rows.hashes[0, row] = _hash_of(base, line, EVENT_ID, mix(org, SEED_HIGH))
    rows.hashes[1, row] = _hash_of(base, line, EVENT_ID, low_seed)
    rows.hashes[2, row] = _actor(base, line, org)
    rows.hashes[3, row] = ZERO if named < 0 else _hash_of(base, line, named, low_seed)
    series = _put_features(base, row, line, org, rows)
    rows.series_code[row] = _code_of(series, line, dictionary)
    if rows.starts.shape[0] > 0:
        rows.starts[row, :] = line.starts
        rows.lengths[row, :] = line.lengths


@kernel
def _state_of(base: int, start: int, end: int, line: Line, terms: Terms) -> int:
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
    ends: NDArray[np.int64],
    states: NDArray[np.uint8],
) -> None:
    """Fill the rows of all lines that are surely events; for every line the place of its newline and its state."""
    line = Line(np.zeros(SPANS, np.int64), np.zeros(SPANS, np.int64), np.zeros(NUMBERS, np.int64))
    at = 0
    for row in range(ends.shape[0]):
        base = source.base if at < source.tail_start else source.tail_base
        end = scan_line(base, at, source.refused, line.starts, line.lengths, line.numbers)
        states[row] = _state_of(base, at, end, line, terms)
        if states[row] == SURE:
            put_row(base, row, line, terms, rows, dictionary)
        else:
            end = newline_after(base, at)
        ends[row] = end
        at = end + 1


@kernel
def put_rows(
    base: int,
    places: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    numbers: NDArray[np.int64],
    terms: Terms,
    rows: Rows,
    dictionary: Dictionary,
) -> None:
    """Fill the rows at `places` from lines that the row decoder read, their texts in memory at `base`."""
    for k in range(places.shape[0]):
        put_row(base, places[k], Line(starts[k], lengths[k], numbers[k]), terms, rows, dictionary)


@kernel
def text_hash(address: int, length: int, seed: np.uint64) -> np.uint64:
    """Hash of the text at an address; see `schemas.decode.words.hash_text`."""
    return hash_text(address, 0, length, seed)


def _field_hash(text: str) -> np.uint64:
    encoded = text.encode()
    padded = np.frombuffer(encoded + bytes(16), np.uint8)
    return U64(text_hash(padded.ctypes.data, len(encoded), SEED_FIELD))


def organisation_hash(org_id: str) -> np.uint64:
    """The hash that stands for an organisation in the hashes of its events."""
    return _field_hash(org_id)


def feature_hash(text: str) -> int:
    """What `EventBatch.features` holds for a field with this text; 0 for the empty string.

    >>> feature_hash("")
    0
    """
    return int(fold32(_field_hash(text))) if text else 0
