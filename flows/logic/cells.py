"""Cells: the counters of one window of one series or campaign, in a pool, listed by owner and tier."""

from __future__ import annotations

import numpy as np

from flows.logic.bare import inlined
from flows.logic.layout import (
    CELLS,
    CELLS_END,
    CELLS_FREE,
    COUNTERS,
    DAY,
    DAY_AFTER_END,
    DAY_BEFORE_START,
    DAY_END,
    DAY_START,
    DIRTY,
    END,
    FREE,
    FRESH,
    HOUR,
    HOUR_MS,
    KIND,
    LINK_COLUMNS,
    MINUTE,
    MINUTE_MS,
    NEXT,
    OWNER,
    PREV,
    SERIES,
    SKETCH,
    SKETCH_USED,
    START,
    TEN,
    TEN_MS,
    TOTAL,
    UP_CAMPAIGN,
    UP_CAMPAIGN_HOUR,
    UP_DAY,
    UP_HOUR,
    UP_MINUTE,
    Int,
    State,
)
from flows.logic.reach import drop_sketch
from schemas.decode.kernel import kernel


@kernel
def take_cell(s: State, kind: Int, owner: Int, start: Int, end: Int) -> Int:
    """A zeroed cell that is in no list yet; the caller has seen to the room."""
    if s.marks[CELLS_FREE] > 0:
        s.marks[CELLS_FREE] -= 1
        cell = np.int64(s.free_cells[s.marks[CELLS_FREE]])
    else:
        cell = s.marks[CELLS_END]
        s.marks[CELLS_END] = cell + 1
    for column in range(COUNTERS):
        s.cells[cell, column] = 0
    s.cells[cell, START] = start
    s.cells[cell, END] = end
    for column in range(LINK_COLUMNS):
        s.links[cell, column] = -1
    s.links[cell, OWNER] = owner
    s.links[cell, KIND] = kind
    s.links[cell, SKETCH] = 0
    s.links[cell, SKETCH_USED] = 0
    s.links[cell, DIRTY] = 0
    s.links[cell, FRESH] = 0
    return cell


@inlined
def window_of(s: State, campaign: Int, tier: Int, ts_ms: Int) -> tuple[Int, Int]:
    """Start and end of the window of a tier that holds the event time; days by the campaign's own bounds."""
    if tier == TEN:
        start = ts_ms - ts_ms % TEN_MS
        return start, start + TEN_MS
    if tier == MINUTE:
        start = ts_ms - ts_ms % MINUTE_MS
        return start, start + MINUTE_MS
    if tier == HOUR:
        start = ts_ms - ts_ms % HOUR_MS
        return start, start + HOUR_MS
    if ts_ms >= s.camp[campaign, DAY_END]:
        return s.camp[campaign, DAY_END], s.camp[campaign, DAY_AFTER_END]
    if ts_ms >= s.camp[campaign, DAY_START]:
        return s.camp[campaign, DAY_START], s.camp[campaign, DAY_END]
    return s.camp[campaign, DAY_BEFORE_START], s.camp[campaign, DAY_START]


@kernel
def cell_of(s: State, series: bool, owner: Int, campaign: Int, tier: Int, ts_ms: Int) -> Int:
    """The owner's cell of a tier for an event time, made when it is not there."""
    start, end = window_of(s, campaign, tier, ts_ms)
    heads = s.series_heads if series else s.camp_heads
    cell = np.int64(heads[owner, tier])
    newer = np.int64(-1)
    while cell >= 0 and s.cells[cell, START] > start:
        newer = cell
        cell = np.int64(s.links[cell, NEXT])
    if cell >= 0 and s.cells[cell, START] == start:
        return cell
    made = take_cell(s, tier + SERIES if series else tier, owner, start, end)
    s.links[made, NEXT] = cell
    s.links[made, PREV] = newer
    if cell >= 0:
        s.links[cell, PREV] = made
    if newer >= 0:
        s.links[newer, NEXT] = made
    else:
        heads[owner, tier] = made
    if series:
        s.series[owner, 1] += 1
    else:
        s.camp[owner, CELLS] += 1
    return made


@kernel
def _link_up(s: State, cell: Int, series: bool, owner: Int, campaign: Int, ts_ms: Int) -> None:
    """Tie a 10 s cell to the coarser windows of its owner."""
    s.links[cell, UP_MINUTE] = cell_of(s, series, owner, campaign, MINUTE, ts_ms)
    s.links[cell, UP_HOUR] = cell_of(s, series, owner, campaign, HOUR, ts_ms)
    s.links[cell, UP_DAY] = cell_of(s, series, owner, campaign, DAY, ts_ms)


@kernel
def chain_of(s: State, slot: Int, campaign: Int, ts_ms: Int) -> Int:
    """The 10 s cell of a series, tied to its coarser windows and to those of its campaign."""
    cell = cell_of(s, True, slot, campaign, TEN, ts_ms)
    if s.links[cell, UP_MINUTE] < 0:
        _link_up(s, cell, True, slot, campaign, ts_ms)
        above = cell_of(s, False, campaign, campaign, TEN, ts_ms)
        s.links[cell, UP_CAMPAIGN] = above
        if s.links[above, UP_MINUTE] < 0:
            _link_up(s, above, False, campaign, campaign, ts_ms)
        s.links[cell, UP_CAMPAIGN_HOUR] = s.links[above, UP_HOUR]
    return cell


@kernel
def release_cell(s: State, cell: Int) -> None:
    """Take a cell out of its list and give its memory back."""
    kind = s.links[cell, KIND]
    owner = np.int64(s.links[cell, OWNER])
    before, after = np.int64(s.links[cell, PREV]), np.int64(s.links[cell, NEXT])
    if kind != TOTAL:
        series = kind >= SERIES
        heads = s.series_heads if series else s.camp_heads
        if before >= 0:
            s.links[before, NEXT] = after
        else:
            heads[owner, kind & 3] = after
        if after >= 0:
            s.links[after, PREV] = before
        if series:
            s.series[owner, 1] -= 1
        else:
            s.camp[owner, CELLS] -= 1
    drop_sketch(s.links, s.entries, s.marks, cell)
    s.links[cell, KIND] = FREE
    s.free_cells[s.marks[CELLS_FREE]] = cell
    s.marks[CELLS_FREE] += 1
