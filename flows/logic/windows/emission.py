"""Window emission: which windows to report, close and give back, and the numbers of windows and live rows."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.logic.windows.layout import (
    DAY,
    HOUR,
    HOUR_MS,
    LATENESS_MS,
    MINUTE,
    MINUTE_MS,
    SERIES,
    TEN,
    TEN_MS,
    TOTAL,
    Int,
    State,
)
from flows.logic.windows.pool import bounds_of, release_window
from flows.logic.windows.reach import LARGE, RANKS, SMALL, distinct, distinct_of, merge_into
from flows.logic.windows.unowned import inlined, unowned, unowned_state
from schemas.decode.kernel import kernel

# A campaign's closed windows that rolling windows still add up stay this long behind the watermark.
ROLLING_HOUR_MS: Final = 3_600_000
ROLLING_DAY_MS: Final = 86_400_000


class Measured(NamedTuple):
    """The numbers of windows, a column each, named as in a record of topic `kpis`."""

    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]
    conversions: NDArray[np.int64]
    leads: NDArray[np.int64]
    spend_micros: NDArray[np.int64]
    revenue_micros: NDArray[np.int64]
    reach: NDArray[np.int64]
    window_start_ms: NDArray[np.int64]
    window_end_ms: NDArray[np.int64]

    @classmethod
    def room(cls, windows: int) -> Measured:
        """Columns for so many windows, to be filled."""
        return cls(*np.empty((len(cls._fields), windows), np.int64))


# The same numbers as a row.
MEASURE: Final = np.dtype([(name, np.int64) for name in Measured._fields])


class LiveNumbers(NamedTuple):
    """What live rows show, a MEASURE a campaign: today, in all, rolling windows, the newest 10 s and those before."""

    today: NDArray[np.void]
    total: NDArray[np.void]
    rolling_1m: NDArray[np.void]
    rolling_5m: NDArray[np.void]
    rolling_1h: NDArray[np.void]
    rolling_24h: NDArray[np.void]
    newest: NDArray[np.void]
    previous: NDArray[np.void]

    @classmethod
    def room(cls, campaigns: int) -> LiveNumbers:
        """Zeroed rows for so many campaigns."""
        return cls(*np.zeros((len(cls._fields), campaigns), MEASURE))


@kernel
def _kept_ms(kind: Int) -> Int:
    """How long behind the watermark a window's end must be before it is given back."""
    if kind == MINUTE:
        return ROLLING_HOUR_MS
    if kind == HOUR:
        return ROLLING_DAY_MS
    return LATENESS_MS


@inlined
def _campaign_of(s: State, window: Int) -> Int:
    meta = s.meta[window]
    return np.int64(s.series[meta.owner].campaign if meta.kind >= SERIES else meta.owner)


@inlined
def _age_ms(s: State, window: Int) -> Int:
    """How long a window's end is behind its campaign's watermark; below 0 it is ahead."""
    return s.camp[_campaign_of(s, window)].watermark_ms - s.counters[window].end_ms


@kernel
def select_windows(
    s: State, partition: Int, due: NDArray[np.bool_], report: NDArray[np.int32], done: NDArray[np.int32]
) -> tuple[Int, Int]:
    """List the windows of a partition's campaigns to report and to give back; returns how many of each.

    Reported are windows that changed since they last were: closed ones, and open ones whose kind is `due`.
    A negative partition means all.
    """
    s = unowned_state(s)
    reported, released = 0, 0
    for window in range(s.header[0].windows_end):
        meta = s.meta[window]
        kind = meta.kind
        if kind < 0 or kind == TOTAL:
            continue
        if partition >= 0 and s.camp[_campaign_of(s, window)].home != partition:
            continue
        age_ms = _age_ms(s, window)
        if meta.dirty != 0 and (age_ms >= LATENESS_MS or due[kind]):
            meta.dirty = 0
            report[reported] = window
            reported += 1
        if age_ms >= _kept_ms(kind):
            done[released] = window
            released += 1
    return reported, released


@kernel
def release_windows(s: State, windows: NDArray[np.int32]) -> None:
    """Give windows back."""
    s = unowned_state(s)
    for window in windows:
        release_window(s, np.int64(window))


@inlined
def _registers_of(kind: Int) -> Int:
    """Registers of a kind of window: fine windows and series have small sketches."""
    return LARGE if kind in (HOUR, DAY, TOTAL) else SMALL


@inlined
def _reach_of(s: State, window: Int, count: NDArray[np.int64]) -> Int:
    """Distinct actors of a window, at most its impressions."""
    size = _registers_of(s.meta[window].kind)
    estimate = distinct_of(s.entries, s.registers, np.int64(s.meta[window].sketch), size, count)
    return reach_within(estimate, s.counters[window].impressions)


@inlined
def reach_within(estimate: Int, impressions: Int) -> Int:
    """Reach: nobody is reached without an impression, so an estimate that came out above their number is too high."""
    return min(estimate, impressions)


@inlined
def _add(out: Any, counters: Any) -> None:
    """Add a window's counters to a measure."""
    out.impressions += counters.impressions
    out.clicks += counters.clicks
    out.conversions += counters.conversions
    out.leads += counters.leads
    out.spend_micros += counters.spend
    out.revenue_micros += counters.revenue


@inlined
def _unowned_columns(out: Measured) -> Measured:
    return Measured(
        impressions=unowned(out.impressions),
        clicks=unowned(out.clicks),
        conversions=unowned(out.conversions),
        leads=unowned(out.leads),
        spend_micros=unowned(out.spend_micros),
        revenue_micros=unowned(out.revenue_micros),
        reach=unowned(out.reach),
        window_start_ms=unowned(out.window_start_ms),
        window_end_ms=unowned(out.window_end_ms),
    )


@kernel
def measure(s: State, windows: NDArray[np.int32], out: Measured, closed: NDArray[np.uint8]) -> None:
    """Counters, reach, start and end of each window into the columns of `out`, and 1 into `closed` where it is."""
    s, out, closed = unowned_state(s), _unowned_columns(out), unowned(closed)
    count = np.empty(RANKS, np.int64)
    for place in range(len(windows)):
        window = np.int64(windows[place])
        counters = s.counters[window]
        out.impressions[place] = counters.impressions
        out.clicks[place] = counters.clicks
        out.conversions[place] = counters.conversions
        out.leads[place] = counters.leads
        out.spend_micros[place] = counters.spend
        out.revenue_micros[place] = counters.revenue
        out.reach[place] = _reach_of(s, window, count)
        out.window_start_ms[place] = counters.start_ms
        out.window_end_ms[place] = counters.end_ms
        closed[place] = _age_ms(s, window) >= LATENESS_MS


@kernel
def _measure_total(s: State, campaign: Int, out: Any) -> None:
    window = s.camp[campaign].total_window
    counters = s.counters[window]
    _add(out, counters)
    out.reach = _reach_of(s, window, np.empty(RANKS, np.int64))
    out.window_start_ms = counters.start_ms
    out.window_end_ms = counters.end_ms


@kernel
def _sum_since(s: State, campaign: Int, tier: Int, start_ms: Int, end_ms: Int, out: Any) -> None:
    """Add up a campaign's windows of a tier that start in [start_ms, end_ms)."""
    registers = np.zeros(_registers_of(tier), np.uint8)
    window = np.int64(s.camp_heads[campaign, tier])
    while window >= 0 and s.counters[window].start_ms >= start_ms:
        if s.counters[window].start_ms < end_ms:
            _add(out, s.counters[window])
            merge_into(s.meta, s.entries, s.registers, window, registers)
        window = np.int64(s.meta[window].next)
    out.reach = reach_within(distinct(registers), out.impressions)
    out.window_start_ms = start_ms
    out.window_end_ms = end_ms


@kernel
def _roll(s: State, campaign: Int, tier: Int, step_ms: Int, width_ms: Int, out: Any) -> None:
    watermark_ms = s.camp[campaign].watermark_ms
    end_ms = watermark_ms - watermark_ms % step_ms + step_ms
    _sum_since(s, campaign, tier, end_ms - width_ms, end_ms, out)


@kernel
def measure_live(s: State, campaigns: NDArray[np.int64], out: LiveNumbers) -> None:
    """The numbers of live rows into `out`, which is zeroed.

    A rolling window ends with the step in progress, so it holds the newest event: rolling 24 h is the current hour so
    far and the 23 before.
    """
    s = unowned_state(s)
    for row in range(len(campaigns)):
        campaign = campaigns[row]
        watermark_ms = s.camp[campaign].watermark_ms
        start_ms, end_ms = bounds_of(s, campaign, DAY, watermark_ms)
        _sum_since(s, campaign, DAY, start_ms, end_ms, out.today[row])
        _measure_total(s, campaign, out.total[row])
        _roll(s, campaign, TEN, TEN_MS, MINUTE_MS, out.rolling_1m[row])
        _roll(s, campaign, TEN, TEN_MS, 5 * MINUTE_MS, out.rolling_5m[row])
        _roll(s, campaign, MINUTE, MINUTE_MS, HOUR_MS, out.rolling_1h[row])
        _roll(s, campaign, HOUR, HOUR_MS, ROLLING_DAY_MS, out.rolling_24h[row])
        newest_ms, end_ms = bounds_of(s, campaign, TEN, watermark_ms)
        _sum_since(s, campaign, TEN, newest_ms, end_ms, out.newest[row])
        _sum_since(s, campaign, TEN, newest_ms - TEN_MS, newest_ms, out.previous[row])
