"""From the places of a line's fields to its row: hashes, numbers, and the code of its series."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.decode.dictionary import Dictionary, code_of, hash_series
from schemas.decode.kernel import inlined, kernel
from schemas.decode.keys import (
    CAMPAIGN_ID,
    CHANNEL,
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
from schemas.decode.memory import get, put, put8, put32, put_word
from schemas.decode.scan import UNSURE, newline_after, scan_line, skip_blank
from schemas.decode.words import (
    LOADED_PAST,
    SEED_ADDRESS,
    SEED_DEVICE,
    SEED_EVENT,
    SEED_FIELD,
    SEED_USER,
    U64,
    ZERO,
    hash_text,
    mix,
    same_text,
)
from schemas.events import EVENT_BYTES_MAX, TS_MS_MIN, EventType

# What became of a line.
BLANK: Final = 0
SURE: Final = 1
DOUBTFUL: Final = 2

_CREATIVE_ID: Final = SPAN_FIELDS.index("creative_id")
_COUNTRY: Final = SPAN_FIELDS.index("country")
_DEVICE: Final = SPAN_FIELDS.index("device")
_USER_ID: Final = SPAN_FIELDS.index("user_id")
_DEVICE_ID: Final = SPAN_FIELDS.index("device_id")
_IP: Final = SPAN_FIELDS.index("ip")
_USER_AGENT: Final = SPAN_FIELDS.index("user_agent")
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
    # The organisation of lines that name none: hash, address and length of its text.
    org_hash: np.uint64
    default_address: int
    default_length: int
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
    event_hash: int
    actor: int
    series_code: int
    texts: int


@inlined
def _is_event(base: int, line: int, terms: Terms) -> bool:
    """Whether required fields are there and agree with the terms; each by itself is valid."""
    kind = get(line, TYPE)
    ts_ms = get(line, TS)
    if kind == 0 or get(line, LENGTHS + EVENT_ID) == 0 or ts_ms < TS_MS_MIN or ts_ms > terms.ts_ms_max:
        return False
    if get(line, LENGTHS + CAMPAIGN_ID) == 0 and kind != _LEAD:
        return False
    if terms.keep_extra and get(line, UNKNOWN) > 0:
        return False
    named = get(line, LENGTHS + ORG_ID)
    if terms.org_length == 0 or named == 0:
        return True
    return named == terms.org_length and same_text(base + get(line, ORG_ID), terms.org_address, named)


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
def _series_code(
    base: int, line: int, org: np.uint64, campaign: np.uint64, named: bool, terms: Terms, dictionary: Dictionary
) -> int:
    """The code of the line's series."""
    series = hash_series(
        campaign,
        _hash_of(base, line, _CREATIVE_ID, SEED_FIELD),
        _hash_of(base, line, CHANNEL, SEED_FIELD),
        _hash_of(base, line, _COUNTRY, SEED_FIELD),
        _hash_of(base, line, _DEVICE, SEED_FIELD),
    )
    org_address = base + get(line, ORG_ID) if named else terms.default_address
    org_length = get(line, LENGTHS + ORG_ID) if named else terms.default_length
    return code_of(base, line, (org, campaign, series), (org_address, org_length), dictionary)


@inlined
def put_row(base: int, row: int, line: int, terms: Terms, rows: Rows, dictionary: Dictionary) -> None:
    """Fill one row from what the scanner found."""
    named_org = _hash_of(base, line, ORG_ID, SEED_FIELD)
    org = terms.org_hash if named_org == ZERO else named_org
    put8(rows.type, row, get(line, TYPE))
    put(rows.ts_ms, row, get(line, TS))
    put(rows.cost_micros, row, get(line, COST))
    put(rows.revenue_micros, row, get(line, REVENUE))
    campaign = mix(org, _hash_of(base, line, CAMPAIGN_ID, SEED_FIELD))
    put_word(rows.event_hash, row, _hash_of(base, line, EVENT_ID, mix(campaign, SEED_EVENT)))
    put_word(rows.actor, row, _actor(base, line, org))
    if dictionary.series_slots != 0:
        put32(rows.series_code, row, _series_code(base, line, org, campaign, named_org != ZERO, terms, dictionary))
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
def _text_hash(address: int, length: int) -> np.uint64:
    """Hash of a field's text."""
    return hash_text(address, 0, length, SEED_FIELD)


@kernel
def _campaign_hash(org: np.uint64, address: int, length: int) -> np.uint64:
    """Hash of a campaign's id within its organisation."""
    return mix(org, hash_text(address, 0, length, SEED_FIELD) if length > 0 else ZERO)


@lru_cache(maxsize=1_024)
def organisation_hash(org_id: str) -> np.uint64:
    """The hash that stands for an organisation in the hashes of its events."""
    text = np.frombuffer(org_id.encode() + bytes(LOADED_PAST), np.uint8)
    return U64(_text_hash(text.ctypes.data, len(text) - LOADED_PAST))


def campaign_hash(org_id: str, campaign_id: str) -> np.uint64:
    """The hash that stands for a campaign in the hashes of its series."""
    text = np.frombuffer(campaign_id.encode() + bytes(LOADED_PAST), np.uint8)
    return U64(_campaign_hash(organisation_hash(org_id), text.ctypes.data, len(text) - LOADED_PAST))
