"""Which windows to report, close and forget, and the numbers of windows and live rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.bare import bare_state, inlined
from flows.logic.cells import release_cell, window_of
from flows.logic.layout import (
    CELLS_END,
    COUNTERS,
    DAY,
    DIRTY,
    END,
    HOME,
    HOUR,
    HOUR_MS,
    KIND,
    LATENESS_MS,
    MINUTE,
    MINUTE_MS,
    NEXT,
    OWNER,
    SERIES,
    SKETCH,
    START,
    TEN,
    TEN_MS,
    TOTAL,
    TOTAL_CELL,
    WATERMARK,
    Int,
    State,
)
from flows.logic.reach import LARGE, RANKS, SMALL, distinct, distinct_of, merge_into
from schemas.decode.kernel import kernel

# A campaign's closed windows that rolling windows still add up stay this long behind the watermark.
ROLLING_HOUR_MS: Final = 3_600_000
ROLLING_DAY_MS: Final = 86_400_000
# Columns of a measured window: counters, reach, start, end.
IMPRESSIONS: Final = 0
REACH: Final = 6
MEASURES: Final = 9
# Sections of a live row: today, total, rolling 1m, 5m, 1h, 24h, the newest 10 s window and the one before.
TODAY, TOTALS, ROLLING, NEWEST, SECTIONS = 0, 1, 2, 6, 8


@kernel
def _kept_ms(kind: Int) -> Int:
    """How long behind the watermark a window's end must be before its cell is given back."""
    if kind == MINUTE:
        return ROLLING_HOUR_MS
    if kind == HOUR:
        return ROLLING_DAY_MS
    return LATENESS_MS


@kernel
def survey(
    s: State, partition: Int, due: NDArray[np.bool_], report: NDArray[np.int32], done: NDArray[np.int32]
) -> tuple[Int, Int]:
    """List the cells of a partition's campaigns to report and to give back; returns how many of each.

    Reported are windows that changed since they last were: closed ones, and open ones whose kind is `due`.
    A negative partition means all.
    """
    s = bare_state(s)
    reported, released = 0, 0
    for cell in range(s.marks[CELLS_END]):
        kind = s.links[cell, KIND]
        if kind < 0 or kind == TOTAL:
            continue
        owner = s.links[cell, OWNER]
        campaign = s.series[owner, 0] if kind >= SERIES else owner
        if partition >= 0 and s.camp[campaign, HOME] != partition:
            continue
        age = s.camp[campaign, WATERMARK] - s.cells[cell, END]
        if s.links[cell, DIRTY] != 0 and (age >= LATENESS_MS or due[kind]):
            s.links[cell, DIRTY] = 0
            report[reported] = cell
            reported += 1
        if age >= _kept_ms(kind):
            done[released] = cell
            released += 1
    return reported, released


@kernel
def release(s: State, cells: NDArray[np.int32]) -> None:
    """Give cells back."""
    s = bare_state(s)
    for cell in cells:
        release_cell(s, np.int64(cell))


@kernel
def _registers_of(kind: Int) -> Int:
    """Registers of a kind of cell: fine windows and series have small sketches."""
    return LARGE if kind in (HOUR, DAY, TOTAL) else SMALL


@kernel
def _reach_of(s: State, cell: Int, count: NDArray[np.int64]) -> Int:
    """Distinct actors of a cell."""
    size = _registers_of(s.links[cell, KIND])
    return distinct_of(s.entries, s.registers, np.int64(s.links[cell, SKETCH]), size, count)


@inlined
def reach_within(estimate: Int, impressions: Int) -> Int:
    """Reach: nobody is reached without an impression, so an estimate that came out above their number is too high."""
    return min(estimate, impressions)


@kernel
def _measure(s: State, cell: Int, out: NDArray[np.int64]) -> None:
    out[:COUNTERS] = s.cells[cell, :COUNTERS]
    out[REACH] = reach_within(_reach_of(s, cell, np.empty(RANKS, np.int64)), out[IMPRESSIONS])
    out[REACH + 1] = s.cells[cell, START]
    out[REACH + 2] = s.cells[cell, END]


@kernel
def measure(s: State, cells: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    """Counters, reach, start and end of each cell into the columns of `out`, shaped [measure, cell]."""
    s = bare_state(s)
    count = np.empty(RANKS, np.int64)
    for place in range(len(cells)):
        cell = np.int64(cells[place])
        for column in range(COUNTERS):
            out[column, place] = s.cells[cell, column]
        out[REACH, place] = reach_within(_reach_of(s, cell, count), out[IMPRESSIONS, place])
        out[REACH + 1, place] = s.cells[cell, START]
        out[REACH + 2, place] = s.cells[cell, END]


@kernel
def _sum_since(s: State, campaign: Int, tier: Int, start: Int, end: Int, out: NDArray[np.int64]) -> None:
    """Add up a campaign's cells of a tier that start in [start, end)."""
    registers = np.zeros(_registers_of(tier), np.uint8)
    cell = np.int64(s.camp_heads[campaign, tier])
    while cell >= 0 and s.cells[cell, START] >= start:
        if s.cells[cell, START] < end:
            for column in range(COUNTERS):
                out[column] += s.cells[cell, column]
            merge_into(s.links, s.entries, s.registers, cell, registers)
        cell = np.int64(s.links[cell, NEXT])
    out[REACH] = reach_within(distinct(registers), out[IMPRESSIONS])
    out[REACH + 1] = start
    out[REACH + 2] = end


@kernel
def _roll(s: State, campaign: Int, tier: Int, step_ms: Int, width_ms: Int, out: NDArray[np.int64]) -> None:
    watermark = s.camp[campaign, WATERMARK]
    end = watermark - watermark % step_ms + step_ms
    _sum_since(s, campaign, tier, end - width_ms, end, out)


@kernel
def measure_live(s: State, campaigns: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """The numbers of live rows: `out` is zeroed, shaped [campaign, section, measure].

    A rolling window ends with the step in progress, so it holds the newest event: rolling 24 h is the current hour so
    far and the 23 before.
    """
    s = bare_state(s)
    for row in range(len(campaigns)):
        campaign = campaigns[row]
        sections = out[row]
        start, end = window_of(s, campaign, DAY, s.camp[campaign, WATERMARK])
        _sum_since(s, campaign, DAY, start, end, sections[TODAY])
        _measure(s, s.camp[campaign, TOTAL_CELL], sections[TOTALS])
        _roll(s, campaign, TEN, TEN_MS, MINUTE_MS, sections[ROLLING])
        _roll(s, campaign, TEN, TEN_MS, 5 * MINUTE_MS, sections[ROLLING + 1])
        _roll(s, campaign, MINUTE, MINUTE_MS, HOUR_MS, sections[ROLLING + 2])
        _roll(s, campaign, HOUR, HOUR_MS, ROLLING_DAY_MS, sections[ROLLING + 3])
        newest, end = window_of(s, campaign, TEN, s.camp[campaign, WATERMARK])
        _sum_since(s, campaign, TEN, newest, end, sections[NEWEST])
        _sum_since(s, campaign, TEN, newest - TEN_MS, newest, sections[NEWEST + 1])
