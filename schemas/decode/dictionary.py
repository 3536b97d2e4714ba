"""Codes of series, their campaigns and organisations: hash tables whose answers are compared with the texts.

A campaign's code is found by its hash and its texts, the organisation's among them; a series' code by its hash and the
code of its campaign. So two with the same hash, by chance or because somebody made them so, are never taken for one
across campaigns or organisations. Two series of one campaign are told apart by 64 bits alone: among a million, two are
taken for one with a chance of 3e-8.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.batch import CAMPAIGNS, DIMENSIONS, ORGANISATIONS, SERIES, TEXT_PADDING
from schemas.decode.kernel import inlined, kernel
from schemas.decode.keys import CAMPAIGN_ID, CHANNEL, LENGTH_MAX, LENGTHS, SPAN_FIELDS
from schemas.decode.memory import get, get32, load, load32, put, put32, store, store32
from schemas.decode.tables import require, require_lengths, require_padding
from schemas.decode.words import LOADED_PAST, U64, mix, place_of, same_text, signed

# Places in `marks`.
SERIES_END, CAMPAIGNS_END, ORGANISATIONS_END, TEXT_END = 0, 1, 2, 3
_CREATIVE_ID: Final = SPAN_FIELDS.index("creative_id")
_COUNTRY: Final = SPAN_FIELDS.index("country")
_DEVICE: Final = SPAN_FIELDS.index("device")
_DIMENSIONS: Final = (_CREATIVE_ID, CHANNEL, _COUNTRY, _DEVICE)
_LENGTH_BITS: Final = 64 // DIMENSIONS
require(len(_DIMENSIONS) == DIMENSIONS, f"DIMENSIONS of schemas/batch.py is {DIMENSIONS}, the scanner has _DIMENSIONS")
require_lengths({SPAN_FIELDS[field]: LENGTH_MAX[field] for field in _DIMENSIONS}, _LENGTH_BITS)
require_padding(TEXT_PADDING, LOADED_PAST, "TEXT_PADDING in schemas/batch.py")


def _at(row: np.dtype[np.void], field: str, size: int = 8) -> int:
    """Where a field is within its row; kernels read and write so many bytes of it."""
    assert row.fields is not None
    kind, place = row.fields[field][:2]
    require(kind.itemsize == size, f"{field} of {row.names} has {kind.itemsize} bytes, kernels write {size}")
    return place


_SERIES_BYTES: Final = SERIES.itemsize
_SERIES_HASH: Final = _at(SERIES, "hash")
_SERIES_LENGTHS: Final = _at(SERIES, "lengths")
_SERIES_START: Final = _at(SERIES, "start")
_SERIES_CAMPAIGN: Final = _at(SERIES, "campaign", 4)
_SERIES_TOTAL: Final = _at(SERIES, "total", 4)
_CAMPAIGN_BYTES: Final = CAMPAIGNS.itemsize
_CAMPAIGN_HASH: Final = _at(CAMPAIGNS, "hash")
_CAMPAIGN_START: Final = _at(CAMPAIGNS, "start")
_CAMPAIGN_ORGANISATION: Final = _at(CAMPAIGNS, "organisation", 4)
_CAMPAIGN_LENGTH: Final = _at(CAMPAIGNS, "length", 4)
_ORGANISATION_BYTES: Final = ORGANISATIONS.itemsize
_ORGANISATION_HASH: Final = _at(ORGANISATIONS, "hash")
_ORGANISATION_START: Final = _at(ORGANISATIONS, "start")
_ORGANISATION_LENGTH: Final = _at(ORGANISATIONS, "length")


class Dictionary(NamedTuple):
    """Addresses of a `SeriesColumns` with room, and of open hash tables of its codes (-1: free), with their masks."""

    # 0: nobody asks for codes.
    series_slots: int
    series_mask: int
    campaign_slots: int
    campaign_mask: int
    organisation_slots: int
    organisation_mask: int
    series: int
    campaigns: int
    organisations: int
    text: int
    marks: int
    # Spreads hashes over the tables; says nothing about codes.
    spread: np.uint64


@inlined
def hash_series(
    campaign: np.uint64, creative: np.uint64, channel: np.uint64, country: np.uint64, device: np.uint64
) -> np.uint64:
    """The hash of a series from those of its campaign and of its texts, 0 for an absent one."""
    return mix(mix(mix(mix(campaign, creative), channel), country), device)


@inlined
def _append_text(source: int, length: int, dictionary: Dictionary) -> None:
    """Copy a text behind the others; up to seven bytes more are written, which the next one overwrites."""
    target = dictionary.text + get(dictionary.marks, TEXT_END)
    for at in range(0, length, 8):
        store(target, at, load(source, at))
    put(dictionary.marks, TEXT_END, get(dictionary.marks, TEXT_END) + length)


@inlined
def _organisation_code(organisation: np.uint64, text: tuple[int, int], d: Dictionary) -> int:
    """The code of an organisation, the next one for one that is new."""
    slot = place_of(organisation, d.spread, d.organisation_mask)
    code = get32(d.organisation_slots, slot)
    while code >= 0:
        row = d.organisations + _ORGANISATION_BYTES * code
        same = load(row, _ORGANISATION_HASH) == organisation and signed(load(row, _ORGANISATION_LENGTH)) == text[1]
        if same and same_text(d.text + signed(load(row, _ORGANISATION_START)), text[0], text[1]):
            return code
        slot = (slot + 1) & d.organisation_mask
        code = get32(d.organisation_slots, slot)
    code = get(d.marks, ORGANISATIONS_END)
    put(d.marks, ORGANISATIONS_END, code + 1)
    put32(d.organisation_slots, slot, code)
    row = d.organisations + _ORGANISATION_BYTES * code
    store(row, _ORGANISATION_HASH, organisation)
    store(row, _ORGANISATION_START, U64(get(d.marks, TEXT_END)))
    store(row, _ORGANISATION_LENGTH, U64(text[1]))
    _append_text(text[0], text[1], d)
    return code


@inlined
def _is_campaign(base: int, line: int, org: tuple[int, int], row: int, d: Dictionary) -> bool:
    """Whether a row is that of the line's campaign, by the texts."""
    length = get(line, LENGTHS + CAMPAIGN_ID)
    owner = d.organisations + _ORGANISATION_BYTES * load32(row, _CAMPAIGN_ORGANISATION)
    if load32(row, _CAMPAIGN_LENGTH) != length or signed(load(owner, _ORGANISATION_LENGTH)) != org[1]:
        return False
    if not same_text(d.text + signed(load(row, _CAMPAIGN_START)), base + get(line, CAMPAIGN_ID), length):
        return False
    return same_text(d.text + signed(load(owner, _ORGANISATION_START)), org[0], org[1])


@inlined
def _campaign_code(
    base: int, line: int, hashes: tuple[np.uint64, np.uint64, np.uint64], org: tuple[int, int], d: Dictionary
) -> int:
    """The code of the line's campaign, the next one for one that is new."""
    slot = place_of(hashes[1], d.spread, d.campaign_mask)
    code = get32(d.campaign_slots, slot)
    while code >= 0:
        row = d.campaigns + _CAMPAIGN_BYTES * code
        if load(row, _CAMPAIGN_HASH) == hashes[1] and _is_campaign(base, line, org, row, d):
            return code
        slot = (slot + 1) & d.campaign_mask
        code = get32(d.campaign_slots, slot)
    code = get(d.marks, CAMPAIGNS_END)
    put(d.marks, CAMPAIGNS_END, code + 1)
    put32(d.campaign_slots, slot, code)
    row = d.campaigns + _CAMPAIGN_BYTES * code
    store(row, _CAMPAIGN_HASH, hashes[1])
    store32(row, _CAMPAIGN_ORGANISATION, _organisation_code(hashes[0], org, d))
    store(row, _CAMPAIGN_START, U64(get(d.marks, TEXT_END)))
    store32(row, _CAMPAIGN_LENGTH, get(line, LENGTHS + CAMPAIGN_ID))
    _append_text(base + get(line, CAMPAIGN_ID), get(line, LENGTHS + CAMPAIGN_ID), d)
    return code


@inlined
def code_of(
    base: int, line: int, hashes: tuple[np.uint64, np.uint64, np.uint64], org: tuple[int, int], d: Dictionary
) -> int:
    """The code of the line's series, the next one for one that is new.

    `hashes` are those of organisation, campaign and series; `org` is address and length of the organisation's text.
    """
    campaign = _campaign_code(base, line, hashes, org, d)
    slot = place_of(hashes[2], d.spread, d.series_mask)
    code = get32(d.series_slots, slot)
    while code >= 0:
        row = d.series + _SERIES_BYTES * code
        if load(row, _SERIES_HASH) == hashes[2] and load32(row, _SERIES_CAMPAIGN) == campaign:
            return code
        slot = (slot + 1) & d.series_mask
        code = get32(d.series_slots, slot)
    code = get(d.marks, SERIES_END)
    put(d.marks, SERIES_END, code + 1)
    put32(d.series_slots, slot, code)
    _put_series(base, line, hashes[2], campaign, d.series + _SERIES_BYTES * code, d)
    return code


@inlined
def _put_series(base: int, line: int, series: np.uint64, campaign: int, row: int, d: Dictionary) -> None:
    """Fill the row of a new series."""
    begin = get(d.marks, TEXT_END)
    store(row, _SERIES_HASH, series)
    store(row, _SERIES_START, U64(begin))
    store32(row, _SERIES_CAMPAIGN, campaign)
    lengths = U64(0)
    for place in range(len(_DIMENSIONS)):
        length = get(line, LENGTHS + _DIMENSIONS[place])
        lengths |= U64(length) << U64(_LENGTH_BITS * place)
        _append_text(base + get(line, _DIMENSIONS[place]), length, d)
    store(row, _SERIES_LENGTHS, lengths)
    store32(row, _SERIES_TOTAL, get(d.marks, TEXT_END) - begin)


@kernel
def put_codes(hashes: NDArray[np.uint64], slots: NDArray[np.int32], spread: np.uint64) -> None:
    """Fill an empty hash table with the codes that there are."""
    mask = slots.shape[0] - 1
    for code in range(hashes.shape[0]):
        slot = place_of(hashes[code], spread, mask)
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = code
