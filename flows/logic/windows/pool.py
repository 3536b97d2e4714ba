"""Windows: the counters of one window of one series or campaign, in a pool, listed by owner and tier."""

from __future__ import annotations

import numpy as np

from flows.logic.windows.layout import (
    DAY,
    FREE,
    HOUR,
    HOUR_MS,
    MINUTE,
    MINUTE_MS,
    SERIES,
    TEN,
    TEN_MS,
    TOTAL,
    Int,
    State,
)
from flows.logic.windows.reach import drop_sketch
from flows.logic.windows.unowned import inlined
from schemas.decode.kernel import kernel


@kernel
def take_window(s: State, kind: Int, owner: Int, start_ms: Int, end_ms: Int) -> Int:
    """A zeroed window that is in no list yet; the caller has seen to the room."""
    header = s.header[0]
    if header.windows_free > 0:
        header.windows_free -= 1
        window = np.int64(s.free_windows[header.windows_free])
    else:
        window = header.windows_end
        header.windows_end = window + 1
    counters = s.counters[window]
    counters.impressions = 0
    counters.clicks = 0
    counters.conversions = 0
    counters.leads = 0
    counters.spend = 0
    counters.revenue = 0
    counters.start_ms = start_ms
    counters.end_ms = end_ms
    _describe(s, window, kind, owner)
    return window


@inlined
def _describe(s: State, window: Int, kind: Int, owner: Int) -> None:
    """Whose window it is and of which kind; no other is above or beside it yet."""
    meta = s.meta[window]
    meta.owner = owner
    meta.kind = kind
    meta.sketch = 0
    meta.sketch_used = 0
    meta.dirty = 0
    meta.fresh = 0
    meta.up_minute = FREE
    meta.up_hour = FREE
    meta.up_day = FREE
    meta.up_campaign = FREE
    meta.up_campaign_hour = FREE
    meta.next = FREE
    meta.prev = FREE


@inlined
def bounds_of(s: State, campaign: Int, tier: Int, ts_ms: Int) -> tuple[Int, Int]:
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
    camp = s.camp[campaign]
    if ts_ms >= camp.day_end_ms:
        return camp.day_end_ms, camp.day_after_end_ms
    if ts_ms >= camp.day_start_ms:
        return camp.day_start_ms, camp.day_end_ms
    return camp.day_before_start_ms, camp.day_start_ms


@kernel
def window_of(s: State, series: bool, owner: Int, campaign: Int, tier: Int, ts_ms: Int) -> Int:
    """The owner's window of a tier for an event time, made when it is not there."""
    start_ms, end_ms = bounds_of(s, campaign, tier, ts_ms)
    heads = s.series_heads if series else s.camp_heads
    window = np.int64(heads[owner, tier])
    newer = np.int64(FREE)
    while window >= 0 and s.counters[window].start_ms > start_ms:
        newer = window
        window = np.int64(s.meta[window].next)
    if window >= 0 and s.counters[window].start_ms == start_ms:
        return window
    made = take_window(s, tier + SERIES if series else tier, owner, start_ms, end_ms)
    s.meta[made].next = window
    s.meta[made].prev = newer
    if window >= 0:
        s.meta[window].prev = made
    if newer >= 0:
        s.meta[newer].next = made
    else:
        heads[owner, tier] = made
    if series:
        s.series[owner].windows += 1
    else:
        s.camp[owner].windows += 1
    return made


@kernel
def _link_up(s: State, window: Int, series: bool, owner: Int, campaign: Int, ts_ms: Int) -> None:
    """Tie a 10 s window to the coarser windows of its owner."""
    s.meta[window].up_minute = window_of(s, series, owner, campaign, MINUTE, ts_ms)
    s.meta[window].up_hour = window_of(s, series, owner, campaign, HOUR, ts_ms)
    s.meta[window].up_day = window_of(s, series, owner, campaign, DAY, ts_ms)


@kernel
def chain_of(s: State, slot: Int, campaign: Int, ts_ms: Int) -> Int:
    """The 10 s window of a series, tied to its coarser windows and to those of its campaign."""
    window = window_of(s, True, slot, campaign, TEN, ts_ms)
    if s.meta[window].up_minute < 0:
        _link_up(s, window, True, slot, campaign, ts_ms)
        above = window_of(s, False, campaign, campaign, TEN, ts_ms)
        s.meta[window].up_campaign = above
        if s.meta[above].up_minute < 0:
            _link_up(s, above, False, campaign, campaign, ts_ms)
        s.meta[window].up_campaign_hour = s.meta[above].up_hour
    return window


@kernel
def release_window(s: State, window: Int) -> None:
    """Take a window out of its list and give its memory back."""
    meta = s.meta[window]
    kind, owner = meta.kind, np.int64(meta.owner)
    before, after = np.int64(meta.prev), np.int64(meta.next)
    if kind != TOTAL:
        series = kind >= SERIES
        heads = s.series_heads if series else s.camp_heads
        if before >= 0:
            s.meta[before].next = after
        else:
            heads[owner, kind & 3] = after
        if after >= 0:
            s.meta[after].prev = before
        if series:
            s.series[owner].windows -= 1
        else:
            s.camp[owner].windows -= 1
    drop_sketch(s.meta, s.entries, s.header, window)
    meta.kind = FREE
    header = s.header[0]
    s.free_windows[header.windows_free] = window
    header.windows_free += 1
