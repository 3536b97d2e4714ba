"""The hot path: one pass over a batch in log order - watermark, ledger, counters, reach.

Row by row and in order, so that nothing depends on where a batch begins or ends. What needs a calendar or makes a
decision is rare: there the kernel stops, Python acts, and the kernel goes on at the same row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from flows.logic.bare import bare_rows, bare_state, inlined, soon
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
    DELAY,
    DIRTY,
    FAR_MS,
    FRESH,
    GROUPS,
    HALF_HOURS,
    KIND,
    LATE,
    LATENESS_MS,
    MINUTE,
    OWNER,
    PAUSED,
    RESERVE,
    REVENUE,
    RUNNING,
    SEEN,
    SERIES,
    SKETCH,
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
    STEP_AT,
    TEN,
    TEN_MS,
    TOTAL_CELL,
    UP_CAMPAIGN,
    UP_CAMPAIGN_HOUR,
    UP_DAY,
    UP_HOUR,
    UP_MINUTE,
    WATERMARK,
    WEEK_BEFORE_START,
    WEEK_END,
    WEEK_START,
    Hash,
    Int,
    Rows,
    State,
)
from flows.logic.reach import LARGE, SMALL, add_actor, merge_up, spread
from schemas.decode.kernel import kernel

# Rows, groups or cells that memory is asked for ahead of the one at hand.
AHEAD: Final = 8
# Why the kernel stopped.
DONE, FIRST, ROLL, TIP, ROOM = 0, 1, 2, 3, 4
# Columns of a group beyond its counters.
GROUP_CELL: Final = 6
GROUP_KEY: Final = 7
# An event older than this comes from a replay or a file and says nothing about how long reports take.
DELAY_MS_MAX: Final = 3_600_000
DELAY_STEP_MS: Final = 200


def watermark_of(ts_ms: Int, now_ms: Int) -> Int:
    """How far an event time may move a watermark, given the log clock."""
    limit = now_ms + AHEAD_MS
    return ts_ms if ts_ms <= limit or ts_ms > now_ms + CLOCKLESS_MS else limit


_watermark_of = inlined(watermark_of)


@inlined
def _advance(s: State, campaign: Int, ts_ms: Int, now_ms: Int) -> Int:
    if s.camp[campaign, SEEN] == 0:
        return FIRST
    watermark = _watermark_of(ts_ms, now_ms)
    if watermark > s.camp[campaign, WATERMARK]:
        s.camp[campaign, WATERMARK] = watermark
        s.camp[campaign, BEHIND] = 0
    return ROLL if s.camp[campaign, WATERMARK] >= s.camp[campaign, BOUNDARY] else DONE


@inlined
def _has_room(s: State) -> bool:
    cells = s.marks[CELLS_FREE] + len(s.cells) - s.marks[CELLS_END]
    blocks = len(s.entries) // 8 - s.marks[BLOCKS_END]
    return bool(s.marks[GROUPS] < len(s.groups) and cells >= CELLS_A_ROW and blocks >= BLOCKS_A_ROW)


@inlined
def _book(s: State, campaign: Int, ts_ms: Int, cost: Int) -> bool:
    """Add a cost to total, week and day; True when it makes a running campaign's spend reach a budget."""
    s.camp[campaign, SPENT_TOTAL] += cost
    if ts_ms >= s.camp[campaign, DAY_END]:
        s.camp[campaign, SPENT_DAY_AFTER] += cost
    elif ts_ms >= s.camp[campaign, DAY_START]:
        s.camp[campaign, SPENT_DAY] += cost
    elif ts_ms >= s.camp[campaign, DAY_BEFORE_START]:
        s.camp[campaign, SPENT_DAY_BEFORE] += cost
    if ts_ms >= s.camp[campaign, WEEK_END]:
        s.camp[campaign, SPENT_WEEK_AFTER] += cost
    elif ts_ms >= s.camp[campaign, WEEK_START]:
        s.camp[campaign, SPENT_WEEK] += cost
    elif ts_ms >= s.camp[campaign, WEEK_BEFORE_START]:
        s.camp[campaign, SPENT_WEEK_BEFORE] += cost
    if s.camp[campaign, STATE] != RUNNING:
        return False
    reserve = s.camp[campaign, RESERVE]
    reached = bool(
        s.camp[campaign, SPENT_TOTAL] + reserve >= s.camp[campaign, BUDGET_TOTAL]
        or s.camp[campaign, SPENT_WEEK] + reserve >= s.camp[campaign, BUDGET_WEEK]
        or s.camp[campaign, SPENT_DAY] + reserve >= s.camp[campaign, BUDGET_DAY]
    )
    if reached:
        s.camp[campaign, STATE] = PAUSED
    return reached


@inlined
def _note_delay(s: State, campaign: Int, delay_ms: Int) -> None:
    """Move the campaign's 95% quantile of reporting delays: 19 parts up for one above, 1 part down for one below."""
    if delay_ms > DELAY_MS_MAX:
        return
    quantile = s.camp[campaign, DELAY]
    part_ms = (quantile >> 4) + DELAY_STEP_MS
    if delay_ms > quantile:
        s.camp[campaign, DELAY] = quantile + part_ms
    else:
        s.camp[campaign, DELAY] = max(quantile - part_ms // 19, 0)


@inlined
def _group_of(s: State, slot: Int, campaign: Int, ts_ms: Int) -> Int:
    """The group that gathers the counters of a series in a 10 s window until the next flush."""
    number = ts_ms // TEN_MS
    key = 2 * slot + (number & 1)
    if s.recent[key, 0] == number and s.recent[key, 1] >= 0:
        return s.recent[key, 1]
    group = s.marks[GROUPS]
    s.marks[GROUPS] = group + 1
    for column in range(COUNTERS):
        s.groups[group, column] = 0
    s.groups[group, GROUP_CELL] = chain_of(s, slot, campaign, ts_ms)
    s.groups[group, GROUP_KEY] = key
    s.recent[key, 0] = number
    s.recent[key, 1] = group
    return group


@inlined
def _meet(s: State, campaign: Int, cell: Int, h: Hash) -> None:
    """Count an actor in the 10 s cells of series and campaign and in the campaign's hour; the others learn later."""
    if add_actor(s.links, s.entries, s.registers, s.marks, cell, h, SMALL):
        s.links[cell, FRESH] = 1
        # The campaign has met whoever one of its series has: it needs no look where the series knew the actor.
        above = np.int64(s.links[cell, UP_CAMPAIGN])
        if add_actor(s.links, s.entries, s.registers, s.marks, above, h, SMALL):
            s.links[above, FRESH] = 1
    hour = np.int64(s.links[cell, UP_CAMPAIGN_HOUR])
    new_in_hour = add_actor(s.links, s.entries, s.registers, s.marks, hour, h, LARGE)
    if s.camp[campaign, HALF_HOURS] != 0:
        # An hour that holds a midnight belongs to two days: each day must count for itself.
        day = np.int64(s.links[s.links[cell, UP_CAMPAIGN], UP_DAY])
        add_actor(s.links, s.entries, s.registers, s.marks, day, h, LARGE)
        add_actor(s.links, s.entries, s.registers, s.marks, s.camp[campaign, TOTAL_CELL], h, LARGE)
    elif new_in_hour:
        s.links[hour, FRESH] = 1


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
                add_actor(s.links, s.entries, s.registers, s.marks, cell, h, SMALL)
                add_actor(s.links, s.entries, s.registers, s.marks, above, h, SMALL if tier == MINUTE else LARGE)
    total = s.camp[campaign, TOTAL_CELL]
    _count_one(s, total, kind, cost, revenue)
    if met:
        add_actor(s.links, s.entries, s.registers, s.marks, total, h, LARGE)


@inlined
def _expect(s: State, rows: Rows, row: Int) -> None:
    """Ask for what rows a little further on will need: first the row of the series, then its newest windows."""
    far = row + 2 * AHEAD
    if far < len(rows.slot):
        slot = np.int64(rows.slot[far])
        soon(s.series, slot)
        soon(s.series_heads, slot)
        soon(s.recent, 2 * slot)
    near = row + AHEAD
    if near < len(rows.slot):
        slot = np.int64(rows.slot[near])
        for tier in range(TEN, DAY + 1):
            cell = np.int64(s.series_heads[slot, tier])
            if cell >= 0:
                soon(s.cells, cell)
                soon(s.links, cell)


@kernel
def absorb(s: State, rows: Rows, row: Int, now_ms: Int) -> tuple[Int, Int]:
    """Fold rows from `row` on into the state; returns the next row and why it stopped."""
    s, rows = bare_state(s), bare_rows(rows)
    while row < len(rows.slot):
        _expect(s, rows, row)
        slot = np.int64(rows.slot[row])
        campaign = np.int64(s.series[slot, 0])
        ts_ms, cost = rows.ts_ms[row], rows.cost[row]
        stop = _advance(s, campaign, ts_ms, now_ms)
        if stop != DONE:
            return row, stop
        if not _has_room(s):
            return row, ROOM
        tipped = cost > 0 and _book(s, campaign, ts_ms, cost)
        if cost > 0 and s.camp[campaign, STEP_AT] != FAR_MS:
            _note_delay(s, campaign, now_ms - ts_ms)
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


@inlined
def _pour(s: State, group: Int, cell: Int) -> None:
    for column in range(COUNTERS):
        s.cells[cell, column] += s.groups[group, column]
    s.links[cell, DIRTY] = 1


@kernel
def _raise_campaign(s: State, above: Int) -> None:
    """Count who is new in a campaign's 10 s cell in its minute, and who is new in its hour in its day and total."""
    if s.links[above, FRESH] != 0:
        s.links[above, FRESH] = 0
        merge_up(s.links, s.entries, s.registers, s.marks, above, np.int64(s.links[above, UP_MINUTE]), SMALL)
    hour = np.int64(s.links[above, UP_HOUR])
    if s.links[hour, FRESH] != 0:
        s.links[hour, FRESH] = 0
        day = np.int64(s.links[above, UP_DAY])
        total = s.camp[s.links[above, OWNER], TOTAL_CELL]
        merge_up(s.links, s.entries, s.registers, s.marks, hour, day, LARGE)
        merge_up(s.links, s.entries, s.registers, s.marks, day, total, LARGE)


@inlined
def _expect_raise(s: State, cell: Int) -> None:
    """Ask for the sketch of a cell and the links above it."""
    if cell < s.marks[CELLS_END] and s.links[cell, KIND] == SERIES + TEN and s.links[cell, FRESH] != 0:
        soon(s.entries, (np.int64(s.links[cell, SKETCH]) >> 4) * 8)
        for up in range(UP_MINUTE, UP_DAY + 1):
            soon(s.links, np.int64(s.links[cell, up]))


@inlined
def _expect_sketches(s: State, cell: Int) -> None:
    """Ask for the sketches above a cell."""
    if cell < s.marks[CELLS_END] and s.links[cell, KIND] == SERIES + TEN and s.links[cell, FRESH] != 0:
        for up in range(UP_MINUTE, UP_DAY + 1):
            soon(s.entries, (np.int64(s.links[np.int64(s.links[cell, up]), SKETCH]) >> 4) * 8)


@kernel
def raise_series(s: State, cell: Int) -> Int:
    """Count who is new in series' 10 s cells, from `cell` on, in the coarser windows of the series.

    Returns the next cell: not the end where sketches need more room.
    """
    s = bare_state(s)
    while cell < s.marks[CELLS_END]:
        _expect_raise(s, cell + 2 * AHEAD)
        _expect_sketches(s, cell + AHEAD)
        if s.links[cell, KIND] == SERIES + TEN and s.links[cell, FRESH] != 0:
            if len(s.entries) // 8 - s.marks[BLOCKS_END] < BLOCKS_A_ROW:
                return cell
            s.links[cell, FRESH] = 0
            for up in (UP_MINUTE, UP_HOUR, UP_DAY):
                merge_up(s.links, s.entries, s.registers, s.marks, cell, np.int64(s.links[cell, up]), SMALL)
        cell += 1
    return cell


@inlined
def _expect_pour(s: State, group: Int) -> None:
    """Ask for the series' windows that groups a little further on go to."""
    far, near = group + 2 * AHEAD, group + AHEAD
    if far < s.marks[GROUPS]:
        soon(s.links, s.groups[far, GROUP_CELL])
    if near < s.marks[GROUPS]:
        cell = s.groups[near, GROUP_CELL]
        soon(s.cells, cell)
        soon(s.recent, s.groups[near, GROUP_KEY])
        for up in range(UP_MINUTE, UP_DAY + 1):
            soon(s.cells, np.int64(s.links[cell, up]))
            soon(s.links, np.int64(s.links[cell, up]))


@kernel
def flush(s: State, group: Int) -> Int:
    """Add the gathered groups from `group` on to the cells of all tiers, and reach to those of campaigns.

    Returns the next group: not the end where sketches need more room.
    """
    s = bare_state(s)
    while group < s.marks[GROUPS]:
        if len(s.entries) // 8 - s.marks[BLOCKS_END] < BLOCKS_A_ROW:
            return group
        _expect_pour(s, group)
        cell = s.groups[group, GROUP_CELL]
        above = np.int64(s.links[cell, UP_CAMPAIGN])
        for bottom in (cell, above):
            _pour(s, group, bottom)
            _pour(s, group, np.int64(s.links[bottom, UP_MINUTE]))
            _pour(s, group, np.int64(s.links[bottom, UP_HOUR]))
            _pour(s, group, np.int64(s.links[bottom, UP_DAY]))
        _pour(s, group, s.camp[s.links[above, OWNER], TOTAL_CELL])
        _raise_campaign(s, above)
        s.recent[s.groups[group, GROUP_KEY], 1] = -1
        group += 1
    s.marks[GROUPS] = 0
    return group
