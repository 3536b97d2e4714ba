"""Windows, sketches and rows of campaigns and series out of several old shards, put together as arrays of a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from flows.logic.windows.reach import DENSE_SMALL, LARGE, SMALL, drop_sketch, merge_up
from schemas.batch import runs

# A handle of a sketch holds the number of its block in 27 bits.
BLOCKS_MAX: Final = 2**27
_LINKS: Final = ("up_minute", "up_hour", "up_day", "up_campaign", "up_campaign_hour")
_COUNTERS: Final = tuple(at.Counted.__annotations__)
_TIERS: Final = 4
# Entries of a sketch block, and its bytes.
_BLOCK: Final = 8
_BLOCK_BYTES: Final = 16
# Blocks of a sketch by its class: sparse ones, then the dense ones of a byte a register.
_BLOCKS_OF: Final = np.array([*(1 << k for k in range(DENSE_SMALL)), SMALL // _BLOCK_BYTES, LARGE // _BLOCK_BYTES])


class TooLargeError(Exception):
    """What is to be in one shard does not fit; the message says what to do."""


class Moved(NamedTuple):
    """An old shard's arrays as in a snapshot, and the new slots of its campaigns and series; FREE: goes elsewhere."""

    arrays: dict[str, NDArray[Any]]
    campaign: NDArray[np.int32]
    series: NDArray[np.int32]


class Owners(NamedTuple):
    """Rows of the new shard, to be filled with what their windows are."""

    camp: NDArray[np.void]
    series: NDArray[np.void]


class MadeArrays(NamedTuple):
    """The arrays of a new shard as in a snapshot, and by old shard the new number of each window; FREE: elsewhere."""

    rows: dict[str, NDArray[Any]]
    number: list[NDArray[np.int32]]


class _Windows(NamedTuple):
    """Windows of the new shard; those of a kind that an owner had in two old shards come twice."""

    counters: NDArray[np.void]
    meta: NDArray[np.void]
    entries: NDArray[np.uint16]


def arrays_of(moved: Sequence[Moved], owners: Owners) -> MadeArrays:
    """The arrays of the new shard. Raises TooLargeError."""
    windows, number = _put_together(moved)
    windows, into = _twice_last(windows, number)
    first = len(windows.meta) - len(into)
    heads = _listed(windows, first, owners)
    header = np.zeros(1, at.HEADER)
    header["windows_end"] = len(windows.meta)
    header["blocks_end"] = len(windows.entries) // _BLOCK
    made = {
        "camp": owners.camp,
        "camp_heads": heads[0],
        "series": owners.series,
        "series_heads": heads[1],
        "counters": windows.counters,
        "meta": windows.meta,
        "free_windows": np.empty(0, np.int32),
        "entries": windows.entries,
        "header": header,
    }
    return MadeArrays(_added_up(made, first, into) if len(into) else made, number)


def _put_together(moved: Sequence[Moved]) -> tuple[_Windows, list[NDArray[np.int32]]]:
    """All windows that move here, those of one old shard behind those of the one before; and their numbers."""
    counters, meta = [np.empty(0, at.WINDOW_COUNTERS)], [np.empty(0, at.WINDOW_META)]
    # Block 0 stays empty: handle 0 means no sketch.
    entries = [np.zeros(_BLOCK, np.uint16)]
    numbers = []
    windows, blocks = 0, 1
    for one in moved:
        owner = _new_owner(one)
        mine = np.flatnonzero(owner >= 0)
        number = np.full(len(owner), at.FREE, np.int32)
        number[mine] = windows + np.arange(len(mine))
        kept = one.arrays["meta"][mine].copy()
        kept["owner"] = owner[mine]
        for link in _LINKS:
            kept[link] = _at(number, kept[link])
        sketches, kept["sketch"] = _moved_sketches(one.arrays["entries"], kept["sketch"], blocks)
        counters.append(one.arrays["counters"][mine])
        meta.append(kept)
        entries.append(sketches)
        numbers.append(number)
        windows, blocks = windows + len(mine), blocks + len(sketches) // _BLOCK
    if blocks >= BLOCKS_MAX:
        raise TooLargeError(
            f"the sketches of reach would take {blocks * _BLOCK_BYTES // 2**20} MiB in one shard, of which "
            f"{BLOCKS_MAX * _BLOCK_BYTES // 2**20} MiB is the most: take more shards"
        )
    return _Windows(np.concatenate(counters), np.concatenate(meta), np.concatenate(entries)), numbers


def _at(number: NDArray[np.int32], of: NDArray[np.int32]) -> NDArray[np.int32]:
    """The numbers of some windows; FREE stays FREE."""
    return np.concatenate([number, np.array([at.FREE], np.int32)])[of]


def _new_owner(one: Moved) -> NDArray[np.int32]:
    """By old window: the new slot of its campaign or series; FREE where it is free or goes elsewhere."""
    kind, owner = one.arrays["meta"]["kind"], one.arrays["meta"]["owner"]
    of_series = (kind >= at.SERIES) & (kind < at.TOTAL)
    found = np.full(len(kind), at.FREE, np.int32)
    found[of_series] = one.series[owner[of_series]]
    of_campaign = (kind >= 0) & ~of_series
    found[of_campaign] = one.campaign[owner[of_campaign]]
    return found


def _moved_sketches(
    entries: NDArray[np.uint16], handles: NDArray[np.int32], first: int
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """The memory of sketches one behind the other, from block `first` on, and their handles there."""
    has = np.flatnonzero(handles != 0)
    old = handles[has].astype(np.int64)
    sizes = _BLOCKS_OF[old & 15]
    begins = first + np.cumsum(sizes) - sizes
    new = np.zeros(len(handles), np.int32)
    new[has] = (begins << 4 | old & 15).astype(np.int32)
    return entries[runs((old >> 4) * _BLOCK, sizes * _BLOCK)], new


def _twice_last(windows: _Windows, numbers: list[NDArray[np.int32]]) -> tuple[_Windows, NDArray[np.int64]]:
    """The windows with those at the end that their owner has once more, and for each of these which that is.

    `numbers` then say where each window is, or is to be added.
    """
    meta, count = windows.meta, len(windows.meta)
    start_ms = np.where(meta["kind"] == at.TOTAL, 0, windows.counters["start_ms"])
    order = np.lexsort((np.arange(count), start_ms, meta["owner"], meta["kind"]))
    same = np.zeros(count, np.bool_)
    same[1:] = True
    for column in (meta["kind"], meta["owner"], start_ms):
        same[1:] &= column[order][1:] == column[order][:-1]
    # Of each run of equal ones, the first.
    of = np.empty(count, np.int64)
    of[order] = order[np.maximum.accumulate(np.where(same, 0, np.arange(count)))]
    again = of != np.arange(count)
    if not again.any():
        return windows, np.empty(0, np.int64)
    place = np.argsort(again, kind="stable")
    now = np.empty(count, np.int64)
    now[place] = np.arange(count)
    final = now[of].astype(np.int32)
    meta = meta[place].copy()
    for link in _LINKS:
        meta[link] = _at(final, meta[link])
    for number in numbers:
        number[:] = _at(final, number)
    return _Windows(windows.counters[place], meta, windows.entries), now[of][place][len(place) - int(again.sum()) :]


def _listed(windows: _Windows, count: int, owners: Owners) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Heads of the lists by owner and tier, newest first, of the first so many windows; fills in who is beside whom."""
    meta, camp, series = windows.meta, owners.camp, owners.series
    kind, owner = meta["kind"][:count], meta["owner"][:count]
    heads = tuple(np.full((len(rows), _TIERS), at.FREE, np.int32) for rows in (camp, series))
    meta["next"] = meta["prev"] = at.FREE
    order = np.lexsort((-windows.counters["start_ms"][:count], owner, kind))
    order = order[kind[order] != at.TOTAL]
    beside = (kind[order][1:] == kind[order][:-1]) & (owner[order][1:] == owner[order][:-1])
    newer, older = order[:-1][beside], order[1:][beside]
    meta["next"][newer], meta["prev"][older] = older, newer
    newest = order[np.concatenate([[True], ~beside])] if len(order) else order
    for rows, of_heads, least in ((camp, heads[0], 0), (series, heads[1], at.SERIES)):
        of_rows = newest[(kind[newest] >= least) & (kind[newest] < least + _TIERS)]
        of_heads[owner[of_rows], kind[of_rows] - least] = of_rows
        listed = order[(kind[order] >= least) & (kind[order] < least + _TIERS)]
        rows["windows"] = np.bincount(owner[listed], minlength=len(rows))
    totals = np.flatnonzero(kind == at.TOTAL)
    camp["total_window"][owner[totals]] = totals
    return heads[0], heads[1]


def _added_up(made: dict[str, NDArray[Any]], first: int, into: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The arrays with the windows from `first` on added to those that they are part of, and gone."""
    counters, meta = made["counters"], made["meta"]
    for name in _COUNTERS:
        np.add.at(counters[name], into, counters[name][first:])
    np.minimum.at(counters["start_ms"], into, counters["start_ms"][first:])
    meta["dirty"][into] = 1
    np.maximum.at(meta["fresh"], into, meta["fresh"][first:])
    arrays = Arrays.restore(made)
    for lower, upper in zip(range(first, len(meta)), into.tolist(), strict=True):
        arrays.make_room()
        s = arrays.state
        small = meta["kind"][lower] not in (at.HOUR, at.DAY, at.TOTAL)
        merge_up(s.meta, s.entries, s.registers, s.header, lower, upper, SMALL if small else LARGE)
        drop_sketch(s.meta, s.entries, s.header, lower)
    arrays.header["windows_end"] = first
    return arrays.snapshot()
