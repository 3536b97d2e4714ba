"""Corrections folded into a campaign's ledger and windows, where an event of their time would have gone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.windows.layout import (
    DAY,
    FREE,
    LATENESS_MS,
    TEN,
    WINDOWS_A_ROW,
    Counted,
    Int,
    Records,
    State,
)
from flows.logic.windows.pool import bounds_of, chain_of, window_of
from flows.logic.windows.unowned import inlined, unowned, unowned_state
from schemas.decode.kernel import kernel

# What became of a correction; NO_ROOM: nothing yet, the arrays are to grow first.
APPLIED, LATE, REFUSED, NO_ROOM = 0, 1, 2, 3
# A change of what is counted.
CHANGE: Final = np.dtype([(name, np.int64) for name in Counted.__annotations__])
# By window: how much its version is ahead of the number of events in it.
Revisions = NDArray[np.int64]


@inlined
def _sinks(there: Int, by: Int) -> bool:
    return bool(by < 0 and there + by < 0)


@inlined
def _takes_too_much(s: State, campaign: Int, change: Counted) -> bool:
    """Whether a total of the campaign would be below zero."""
    total = s.counters[s.camp[campaign].total_window]
    return bool(
        _sinks(total.impressions, change.impressions)
        or _sinks(total.clicks, change.clicks)
        or _sinks(total.conversions, change.conversions)
        or _sinks(total.leads, change.leads)
        or _sinks(total.spend, change.spend)
        or _sinks(total.revenue, change.revenue)
        or _sinks(s.camp[campaign].spent_total, change.spend)
    )


@inlined
def _book(s: State, campaign: Int, ts_ms: Int, spend: Int) -> None:
    """Change total, week and day as `absorb` does, the periods not below zero.

    What is given back for other days than the one it is noted for must not be spent on top of that day's budget.
    """
    camp = s.camp[campaign]
    camp.spent_total += spend
    if ts_ms >= camp.day_end_ms:
        camp.spent_day_after = max(camp.spent_day_after + spend, 0)
    elif ts_ms >= camp.day_start_ms:
        camp.spent_day = max(camp.spent_day + spend, 0)
    elif ts_ms >= camp.day_before_start_ms:
        camp.spent_day_before = max(camp.spent_day_before + spend, 0)
    if ts_ms >= camp.week_end_ms:
        camp.spent_week_after = max(camp.spent_week_after + spend, 0)
    elif ts_ms >= camp.week_start_ms:
        camp.spent_week = max(camp.spent_week + spend, 0)
    elif ts_ms >= camp.week_before_start_ms:
        camp.spent_week_before = max(camp.spent_week_before + spend, 0)


@inlined
def _change(s: State, revisions: Revisions, window: Int, change: Counted) -> None:
    """Change a window; its version, events plus revisions, rises by one."""
    counters = s.counters[window]
    counters.impressions += change.impressions
    counters.clicks += change.clicks
    counters.conversions += change.conversions
    counters.leads += change.leads
    counters.spend += change.spend
    counters.revenue += change.revenue
    revisions[window] += 1 - change.impressions - change.clicks - change.conversions - change.leads


@inlined
def _kept_window(s: State, campaign: Int, tier: Int, start_ms: Int) -> Int:
    """The campaign's window of a tier that starts there, if it is still here; else FREE."""
    window = np.int64(s.camp_heads[campaign, tier])
    while window >= 0 and s.counters[window].start_ms > start_ms:
        window = np.int64(s.meta[window].next)
    return window if window >= 0 and s.counters[window].start_ms == start_ms else FREE


@inlined
def _change_tier(
    s: State, revisions: Revisions, campaign: Int, series: Int, tier: Int, ts_ms: Int, change: Counted
) -> bool:
    """Change the windows of a tier; False where they are closed.

    A closed one that rolling windows still add up is changed, too, but not reported: it was final.
    """
    start_ms, end_ms = bounds_of(s, campaign, tier, ts_ms)
    if ts_ms < s.camp[campaign].day_before_start_ms:
        return False
    if end_ms + LATENESS_MS <= s.camp[campaign].watermark_ms:
        kept = _kept_window(s, campaign, tier, start_ms)
        if kept >= 0:
            _change(s, revisions, kept, change)
        return False
    if series >= 0:
        own = chain_of(s, series, campaign, ts_ms) if tier == TEN else window_of(s, True, series, campaign, tier, ts_ms)
        _change(s, revisions, own, change)
        s.meta[own].dirty = 1
    above = window_of(s, False, campaign, campaign, tier, ts_ms)
    _change(s, revisions, above, change)
    s.meta[above].dirty = 1
    return True


@kernel
def fold(
    s: State, revisions: Revisions, campaign: Int, series: Int, tier: Int, ts_ms: Int, changes: Records[Counted]
) -> Int:
    """Fold one change, the only row of `changes`, into the windows from `tier` on, and the total; all must be flushed.

    `series` may be FREE. Returns what became of it.
    """
    s, revisions = unowned_state(s), unowned(revisions)
    header = s.header[0]
    if header.windows_free + len(s.counters) - header.windows_end < WINDOWS_A_ROW:
        return NO_ROOM
    change = changes[0]
    if _takes_too_much(s, campaign, change):
        return REFUSED
    _book(s, campaign, ts_ms, change.spend)
    _change(s, revisions, s.camp[campaign].total_window, change)
    s.camp[campaign].stale = 1
    outcome = APPLIED
    for each in range(tier, DAY + 1):
        if not _change_tier(s, revisions, campaign, series, each, ts_ms, change):
            outcome = LATE
    return outcome
