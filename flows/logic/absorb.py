"""The hot path: one pass over a batch in log order - watermark, ledger, counters, reach.

Row by row and in order, so that nothing depends on where a batch begins or ends. What needs a calendar or makes a
decision is rare: there the kernel stops, Python acts, and the kernel goes on at the same row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from flows.logic.cells import cell_of, chain_of, window_of
from flows.logic.layout import (
    AHEAD_MS,
    BEHIND,
    BLOCKS_A_ROW,
    BLOCKS_END,
    BOUNDARY,
    BUDGET_DAY,
    BUDGET_TOTAL,
    BUDGET_WEEK,
    CELLS_A_ROW,
    CELLS_END,
    CELLS_FREE,
    CLOCKLESS_MS,
    COUNTERS,
    DAY,
    DAY_BEFORE_START,
    DAY_END,
    DAY_START,
    DIRTY,
    GROUPS,
    HALF_HOURS,
    LATE,
    LATENESS_MS,
    MINUTE,
    OWNER,
    PAUSED,
    REVENUE,
    RUNNING,
    SEEN,
    SPEND,
    SPENT_DAY,
    SPENT_DAY_AFTER,
    SPENT_DAY_BEFORE,
    SPENT_TOTAL,
    SPENT_WEEK,
    SPENT_WEEK_AFTER,
    SPENT_WEEK_BEFORE,
    STALE,
    STATE,
    TEN,
    TEN_MS,
    TOTAL_CELL,
    UP_CAMPAIGN,
    UP_DAY,
    UP_HOUR,
    UP_MINUTE,
    WATERMARK,
    WEEK_BEFORE_START,
    WEEK_END,
    WEEK_START,
    Int,
    Rows,
    State,
)
from flows.logic.reach import LARGE, SMALL, add_actor, spread
from schemas.decode.kernel import kernel

# Why the kernel stopped.
DONE, FIRST, ROLL, TIP, ROOM = 0, 1, 2, 3, 4
# Columns of a group beyond its counters.
GROUP_CELL: Final = 6
GROUP_KEY: Final = 7


@kernel
def watermark_of(ts_ms: Int, now_ms: Int) -> Int:
    """How far an event time may move a watermark, given the log clock."""
    limit = now_ms + AHEAD_MS
    return ts_ms if ts_ms <= limit or ts_ms > now_ms + CLOCKLESS_MS else limit


@kernel
def _advance(s: State, campaign: Int, ts_ms: Int, now_ms: Int) -> Int:
    if s.camp[campaign, SEEN] == 0:
        return FIRST
    watermark = watermark_of(ts_ms, now_ms)
    if watermark > s.camp[campaign, WATERMARK]:
        s.camp[campaign, WATERMARK] = watermark
        s.camp[campaign, BEHIND] = 0
    return ROLL if s.camp[campaign, WATERMARK] >= s.camp[campaign, BOUNDARY] else DONE


@kernel
def _has_room(s: State) -> bool:
    cells = s.marks[CELLS_FREE] + len(s.cells) - s.marks[CELLS_END]
    blocks = len(s.entries) // 8 - s.marks[BLOCKS_END]
    return bool(s.marks[GROUPS] < len(s.groups) and cells >= CELLS_A_ROW and blocks >= BLOCKS_A_ROW)


@kernel
def _book(s: State, campaign: Int, ts_ms: Int, cost: Int) -> bool:
    """Add a cost to total, week and day; True when it makes a running campaign's spend reach a budget."""
    camp = s.camp[campaign]
    camp[SPENT_TOTAL] += cost
    if ts_ms >= camp[DAY_END]:
        camp[SPENT_DAY_AFTER] += cost
    elif ts_ms >= camp[DAY_START]:
        camp[SPENT_DAY] += cost
    elif ts_ms >= camp[DAY_BEFORE_START]:
        camp[SPENT_DAY_BEFORE] += cost
    if ts_ms >= camp[WEEK_END]:
        camp[SPENT_WEEK_AFTER] += cost
    elif ts_ms >= camp[WEEK_START]:
        camp[SPENT_WEEK] += cost
    elif ts_ms >= camp[WEEK_BEFORE_START]:
        camp[SPENT_WEEK_BEFORE] += cost
    if camp[STATE] != RUNNING:
        return False
    reached = bool(
        camp[SPENT_TOTAL] >= camp[BUDGET_TOTAL]
        or camp[SPENT_WEEK] >= camp[BUDGET_WEEK]
        or camp[SPENT_DAY] >= camp[BUDGET_DAY]
    )
    if reached:
        camp[STATE] = PAUSED
    return reached


@kernel
def _group_of(s: State, slot: Int, campaign: Int, ts_ms: Int) -> Int:
    """The group that gathers the counters of a series in a 10 s window until the next flush."""
    number = ts_ms // TEN_MS
    key = 2 * slot + (number & 1)
    if s.recent[key, 0] == number and s.recent[key, 1] >= 0:
        return s.recent[key, 1]
    group = s.marks[GROUPS]
    s.marks[GROUPS] = group + 1
    s.groups[group, :COUNTERS] = 0
    s.groups[group, GROUP_CELL] = chain_of(s, slot, campaign, ts_ms)
    s.groups[group, GROUP_KEY] = key
    s.recent[key, 0] = number
    s.recent[key, 1] = group
    return group


@kernel
def _meet(s: State, campaign: Int, cell: Int, h: np.uint64) -> None:
    """Count an actor in a 10 s cell and all windows above it.

    A coarser window has met whoever a finer one has, so where a sketch did not change those above it (of the same
    number of registers) need no look.
    """
    above = np.int64(s.links[cell, UP_CAMPAIGN])
    if add_actor(s, cell, h, SMALL):
        if add_actor(s, np.int64(s.links[cell, UP_MINUTE]), h, SMALL):
            add_actor(s, np.int64(s.links[cell, UP_HOUR]), h, SMALL)
            add_actor(s, np.int64(s.links[cell, UP_DAY]), h, SMALL)
        if add_actor(s, above, h, SMALL):
            add_actor(s, np.int64(s.links[above, UP_MINUTE]), h, SMALL)
    new_in_hour = add_actor(s, np.int64(s.links[above, UP_HOUR]), h, LARGE)
    # An hour that holds a midnight belongs to two days: what is not new in it may be new in the second.
    if (new_in_hour or s.camp[campaign, HALF_HOURS] != 0) and add_actor(s, np.int64(s.links[above, UP_DAY]), h, LARGE):
        add_actor(s, s.camp[campaign, TOTAL_CELL], h, LARGE)


@kernel
def _count_one(s: State, cell: Int, kind: Int, cost: Int, revenue: Int) -> None:
    s.cells[cell, kind - 1] += 1
    s.cells[cell, SPEND] += cost
    s.cells[cell, REVENUE] += revenue
    s.links[cell, DIRTY] = 1


@kernel
def _count_late(s: State, rows: Rows, row: Int, slot: Int, campaign: Int) -> None:
    """An event whose 10 s window is closed: into the coarser windows that are still open, and the total."""
    ts_ms, kind, cost, revenue = rows.ts_ms[row], rows.type[row], rows.cost[row], rows.revenue[row]
    h = spread(rows.actor[row])
    met = rows.actor[row] != 0
    rows.late[s.marks[LATE]] = rows.position[row]
    s.marks[LATE] += 1
    for tier in range(MINUTE, DAY + 1):
        if ts_ms < s.camp[campaign, DAY_BEFORE_START]:
            break
        _, end = window_of(s, campaign, tier, ts_ms)
        if end + LATENESS_MS > s.camp[campaign, WATERMARK]:
            cell = cell_of(s, True, slot, campaign, tier, ts_ms)
            above = cell_of(s, False, campaign, campaign, tier, ts_ms)
            _count_one(s, cell, kind, cost, revenue)
            _count_one(s, above, kind, cost, revenue)
            if met:
                add_actor(s, cell, h, SMALL)
                add_actor(s, above, h, SMALL if tier == MINUTE else LARGE)
    total = s.camp[campaign, TOTAL_CELL]
    _count_one(s, total, kind, cost, revenue)
    if met:
        add_actor(s, total, h, LARGE)


@kernel
def absorb(s: State, rows: Rows, row: Int, now_ms: Int) -> tuple[Int, Int]:
    """Fold rows from `row` on into the state; returns the next row and why it stopped."""
    while row < len(rows.slot):
        slot = np.int64(rows.slot[row])
        campaign = np.int64(s.series[slot, 0])
        ts_ms, cost = rows.ts_ms[row], rows.cost[row]
        stop = _advance(s, campaign, ts_ms, now_ms)
        if stop != DONE:
            return row, stop
        if not _has_room(s):
            return row, ROOM
        tipped = cost > 0 and _book(s, campaign, ts_ms, cost)
        s.camp[campaign, STALE] = 1
        _, end = window_of(s, campaign, TEN, ts_ms)
        # Days before the last are not kept, whatever the watermark says: it trails the clock after a jump.
        if end + LATENESS_MS <= s.camp[campaign, WATERMARK] or ts_ms < s.camp[campaign, DAY_BEFORE_START]:
            _count_late(s, rows, row, slot, campaign)
        else:
            group = _group_of(s, slot, campaign, ts_ms)
            s.groups[group, rows.type[row] - 1] += 1
            s.groups[group, SPEND] += cost
            s.groups[group, REVENUE] += rows.revenue[row]
            if rows.actor[row] != 0:
                _meet(s, campaign, s.groups[group, GROUP_CELL], spread(rows.actor[row]))
        row += 1
        if tipped:
            return row, TIP
    return row, DONE


@kernel
def _pour(s: State, group: Int, cell: Int) -> None:
    for column in range(COUNTERS):
        s.cells[cell, column] += s.groups[group, column]
    s.links[cell, DIRTY] = 1


@kernel
def flush(s: State) -> None:
    """Add the gathered groups to the cells of all tiers."""
    for group in range(s.marks[GROUPS]):
        cell = s.groups[group, GROUP_CELL]
        above = np.int64(s.links[cell, UP_CAMPAIGN])
        for bottom in (cell, above):
            _pour(s, group, bottom)
            _pour(s, group, np.int64(s.links[bottom, UP_MINUTE]))
            _pour(s, group, np.int64(s.links[bottom, UP_HOUR]))
            _pour(s, group, np.int64(s.links[bottom, UP_DAY]))
        _pour(s, group, s.camp[s.links[above, OWNER], TOTAL_CELL])
        s.recent[s.groups[group, GROUP_KEY], 1] = -1
    s.marks[GROUPS] = 0
