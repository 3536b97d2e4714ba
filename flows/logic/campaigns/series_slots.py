"""Slots of series in a shard, found in kernels: hash tables, bounds by organisation, and what is counted together.

A slot's texts are compared before it is taken for that of a series, so that equal hashes mix nothing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flows.logic.windows.layout import Hash, Int
from flows.logic.windows.unowned import inlined
from schemas.decode.dictionary import hash_series
from schemas.decode.kernel import kernel
from schemas.decode.memory import load, store
from schemas.decode.words import SEED_FIELD, hash_text, place_of, same_text

# A structured array, whose fields compiled code knows by name.
Table: TypeAlias = Any

OTHER: Final = "~other"
# What a series counted under OTHER has for texts: all four of them OTHER. They begin a shard's run of texts.
OTHERS: Final = 4 * OTHER.encode()
OTHERS_LENGTHS: Final = np.uint64(sum(len(OTHER) << 16 * place for place in range(4)))
OTHERS_BYTES: Final = len(OTHERS)
OTHER_BYTES: Final = len(OTHER)
# Organisations whose folded names are counted apart, for metrics; those of later ones are counted under OTHER.
FOLDED_ORGS_MAX: Final = 64

# By slot. A free slot of `SERIES` has campaign FREE, one of CAMPAIGN_SLOTS organisation FREE.
CAMPAIGN_SLOTS: Final = np.dtype(
    [
        ("hash", "<u8"),
        ("start", "<i8"),
        ("length", "<i4"),
        ("organisation", "<i4"),
        # How many series it has, and the slot of the one that stands for those without room.
        ("series", "<i4"),
        ("other", "<i4"),
    ]
)
ORGANISATION_SLOTS: Final = np.dtype(
    [
        ("start", "<i8"),
        # FREE: no organisation.
        ("length", "<i4"),
        # Campaigns, those of them without a definition, and series.
        ("campaigns", "<i4"),
        ("unknown", "<i4"),
        ("series", "<i4"),
        # The campaign that stands for those without room.
        ("other", "<i4"),
        # 1: has a guaranteed part of each bound.
        ("guaranteed", "<i4"),
        # Where what was folded is counted; FREE: nothing was.
        ("folded", "<i4"),
    ]
)
FREE: Final = -1

# Places in `marks`: slots ever used, free ones on the stack, series there are, campaigns without a definition, the end
# of the texts, how many of their bytes belong to nobody any more, organisations counted apart, series added.
SERIES_END, SERIES_FREE, SERIES_USED, UNKNOWN_USED, TEXT_END, TEXT_DEAD, FOLDED_END, ADDED = range(8)
MARKS: Final = 8

# What a code stands for: a slot; not looked up yet; and from FOLDED down, `FOLDED - slot` of what it is counted under.
UNKNOWN: Final = -1
FOLDED: Final = -2
# Why a look-up stopped.
DONE, ROOM, ORGANISATION, CAMPAIGN = 0, 1, 2, 3
# A stop in place of a slot: STOPPED - reason.
_STOPPED: Final = -(2**30)


class Index(NamedTuple):
    """The arrays of a registry; rows beyond what is used are room to grow."""

    series: Table
    # Slots by hash of the series, open addressing, -1 is free.
    series_table: NDArray[np.int32]
    # Stack of free slots.
    free: NDArray[np.int32]
    campaigns: Table
    campaign_table: NDArray[np.int32]
    organisations: Table
    # By place: what was folded of the organisations counted apart, and of all others in the last one.
    folded: NDArray[np.int64]
    marks: NDArray[np.int64]
    # Address of the texts and how many bytes there are for them.
    text: int
    text_room: int
    # Spreads hashes over the tables: see `place_of`.
    spread: np.uint64


class Seen(NamedTuple):
    """By the codes of a `SeriesColumns`: what they stand for here."""

    slot: NDArray[np.int32]
    campaign: NDArray[np.int32]
    organisation: NDArray[np.int32]


class Given(NamedTuple):
    """A `SeriesColumns` as kernels read it."""

    series: Table
    campaigns: Table
    text: int


class Bounds(NamedTuple):
    """How many series and campaigns are kept apart; the parts are those guaranteed to an organisation."""

    series_per_campaign: int
    series: int
    series_part: int
    campaigns: int
    campaigns_part: int


@inlined
def place_in(table: Any, hashed: Hash, spread: Hash) -> Int:
    """Where a hash belongs in a table when nothing is in its way."""
    return place_of(hashed, spread, table.shape[0] - 1)


@inlined
def after(table: Any, place: Int) -> Int:
    """The next place of a table, the first one behind the last."""
    return (place + 1) & (table.shape[0] - 1)


@inlined
def _find_series(x: Index, given: Given, row: Any, campaign: Int) -> Int:
    """The slot of a series of a campaign; UNKNOWN when there is none."""
    place = place_in(x.series_table, row.hash, x.spread)
    while x.series_table[place] >= 0:
        slot = x.series_table[place]
        kept = x.series[slot]
        if (
            kept.hash == row.hash
            and kept.campaign == campaign
            and kept.lengths == row.lengths
            and same_text(x.text + kept.start, given.text + row.start, row.total)
        ):
            return np.int64(slot)
        place = after(x.series_table, place)
    return UNKNOWN


@inlined
def _find_campaign(x: Index, given: Given, row: Any, organisation: Int) -> Int:
    """The slot of a campaign of an organisation; UNKNOWN when there is none."""
    place = place_in(x.campaign_table, row.hash, x.spread)
    while x.campaign_table[place] >= 0:
        slot = x.campaign_table[place]
        kept = x.campaigns[slot]
        if (
            kept.hash == row.hash
            and kept.organisation == organisation
            and kept.length == row.length
            and same_text(x.text + kept.start, given.text + row.start, row.length)
        ):
            return np.int64(slot)
        place = after(x.campaign_table, place)
    return UNKNOWN


@inlined
def _fits(total: Int, most: Int, own: Int, part: Int, guaranteed: Int) -> bool:
    """Whether an organisation may have one more."""
    return bool(total < most or (guaranteed != 0 and own < part))


@inlined
def _campaign_of(x: Index, bounds: Bounds, seen: Seen, given: Given, code: Int) -> Int:
    """What a campaign's code stands for, or why it cannot be said here."""
    row = given.campaigns[code]
    organisation = np.int64(seen.organisation[row.organisation])
    if organisation == UNKNOWN:
        return _STOPPED - ORGANISATION
    found = _find_campaign(x, given, row, organisation)
    if found != UNKNOWN:
        return found
    owner = x.organisations[organisation]
    if owner.other < 0 or _fits(
        x.marks[UNKNOWN_USED], bounds.campaigns, owner.unknown, bounds.campaigns_part, owner.guaranteed
    ):
        return _STOPPED - CAMPAIGN
    return FOLDED - np.int64(owner.other)


@inlined
def _count_folded(x: Index, organisation: Int) -> None:
    owner = x.organisations[organisation]
    if owner.folded < 0:
        owner.folded = min(x.marks[FOLDED_END], FOLDED_ORGS_MAX)
        x.marks[FOLDED_END] = min(x.marks[FOLDED_END] + 1, FOLDED_ORGS_MAX + 1)
    x.folded[owner.folded] += 1


@inlined
def _add_series(x: Index, campaign: Int, hashed: Hash, lengths: Hash, start: Int, added: Any) -> Int:
    """A slot for a series whose texts are there already; at 0 are those of the one that stands for others."""
    slot = np.int64(x.marks[SERIES_END])
    if x.marks[SERIES_FREE] > 0:
        x.marks[SERIES_FREE] -= 1
        slot = np.int64(x.free[x.marks[SERIES_FREE]])
    else:
        x.marks[SERIES_END] += 1
    row = x.series[slot]
    row.hash = hashed
    row.lengths = lengths
    row.start = start
    row.campaign = campaign
    if start == 0:
        row.total = OTHERS_BYTES
        x.campaigns[campaign].other = slot
    else:
        row.total = x.marks[TEXT_END] - start
    x.marks[SERIES_USED] += 1
    x.campaigns[campaign].series += 1
    x.organisations[x.campaigns[campaign].organisation].series += 1
    place = place_in(x.series_table, hashed, x.spread)
    while x.series_table[place] >= 0:
        place = after(x.series_table, place)
    x.series_table[place] = slot
    added[x.marks[ADDED]] = slot
    x.marks[ADDED] += 1
    return slot


@inlined
def _append_text(x: Index, source: Int, length: Int) -> Int:
    """Where a text is from now on."""
    start = np.int64(x.marks[TEXT_END])
    copy_text(source, x.text + start, length)
    x.marks[TEXT_END] += length
    return start


@inlined
def copy_text(source: Int, target: Int, length: Int) -> None:
    """Copy bytes, up to seven more than asked for."""
    for at in range(0, length, 8):
        store(target, at, load(source, at))


@inlined
def _other_series(x: Index, campaign: Int, added: Any) -> Int:
    """The series that stands for those of a campaign that have no room, made when it is not there."""
    kept = x.campaigns[campaign]
    if kept.other >= 0:
        return np.int64(kept.other)
    other = hash_text(x.text, 0, OTHER_BYTES, SEED_FIELD)
    return _add_series(x, campaign, hash_series(kept.hash, other, other, other, other), OTHERS_LENGTHS, 0, added)


@inlined
def _slot_of(x: Index, bounds: Bounds, given: Given, row: Any, campaign: Int, owner: Int, added: Any) -> Int:
    """What a series' code stands for; `campaign` is what its campaign's code does, `owner` whom the events are of."""
    if campaign >= 0:
        found = _find_series(x, given, row, campaign)
        if found != UNKNOWN:
            return found
        if row.lengths == OTHERS_LENGTHS and same_text(x.text, given.text + row.start, OTHERS_BYTES):
            return _other_series(x, campaign, added)
        own = x.organisations[owner]
        fits = _fits(x.marks[SERIES_USED], bounds.series, own.series, bounds.series_part, own.guaranteed)
        if fits and x.campaigns[campaign].series < bounds.series_per_campaign:
            start = _append_text(x, given.text + row.start, np.int64(row.total))
            return _add_series(x, campaign, row.hash, row.lengths, start, added)
    else:
        campaign = FOLDED - campaign
    _count_folded(x, owner)
    return FOLDED - _other_series(x, campaign, added)


@kernel
def look_up(
    x: Index,
    bounds: Bounds,
    seen: Seen,
    given: Given,
    codes: NDArray[np.int32],
    row: Int,
    slots: NDArray[np.int32],
    added: NDArray[np.int32],
) -> tuple[Int, Int]:
    """Fill the slots of rows from `row` on, one after another; returns where it stopped and why."""
    while row < codes.shape[0]:
        code = codes[row]
        found = np.int64(seen.slot[code])
        if found == UNKNOWN:
            series = given.series[code]
            room = x.marks[TEXT_END] + np.int64(series.total) + OTHERS_BYTES <= x.text_room
            if not room or (x.marks[SERIES_FREE] == 0 and x.marks[SERIES_END] == x.series.shape[0]):
                return row, ROOM
            campaign = np.int64(seen.campaign[series.campaign])
            if campaign == UNKNOWN:
                campaign = _campaign_of(x, bounds, seen, given, np.int64(series.campaign))
                if campaign <= _STOPPED:
                    return row, _STOPPED - campaign
                seen.campaign[series.campaign] = campaign
            owner = np.int64(seen.organisation[given.campaigns[series.campaign].organisation])
            if owner == UNKNOWN:
                return row, ORGANISATION
            found = _slot_of(x, bounds, given, series, campaign, owner, added)
            seen.slot[code] = found
        slots[row] = found if found >= 0 else FOLDED - found
        row += 1
    return row, DONE
