"""The hot path: one pass over a batch in log order - watermark, ledger, counters, reach.

Row by row and in order, so that nothing depends on where a batch begins or ends. What needs a calendar or makes a
decision is rare: there the kernel stops, Python acts, and the kernel goes on at the same row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from flows.logic.windows.layout import (
    AHEAD_MS,
    BLOCKS_A_ROW,
    CLOCKLESS_MS,
    DAY,
    FAR_MS,
    LATENESS_MS,
    MINUTE,
    PAUSED,
    RUNNING,
    SERIES,
    TEN,
    TEN_MS,
    WINDOWS_A_ROW,
    Hash,
    Int,
    Rows,
    State,
)
from flows.logic.windows.pool import bounds_of, chain_of, window_of
from flows.logic.windows.reach import LARGE, SMALL, add_actor, merge_up, spread
from flows.logic.windows.unowned import inlined, prefetch, unowned_rows, unowned_state
from schemas.decode.kernel import kernel
from schemas.events import EventType

# Rows, groups or windows that memory is asked for ahead of the one at hand.
AHEAD: Final = 8
# Why the kernel stopped: all done; a campaign's first event; a period or date has come; an event reached a budget; the
# arrays are nearly full.
DONE, FIRST, ROLLOVER, BUDGET, ROOM = 0, 1, 2, 3, 4
# Codes of event types, as numbers for compiled code; what is none of these is a lead.
IMPRESSION: Final = EventType.IMPRESSION.value
CLICK: Final = EventType.CLICK.value
CONVERSION: Final = EventType.CONVERSION.value
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
    camp = s.camp[campaign]
    if camp.seen == 0:
        return FIRST
    watermark_ms = _watermark_of(ts_ms, now_ms)
    if watermark_ms > camp.watermark_ms:
        camp.watermark_ms = watermark_ms
        camp.behind_ms = 0
    return ROLLOVER if camp.watermark_ms >= camp.boundary_ms else DONE


@inlined
def _has_room(s: State) -> bool:
    header = s.header[0]
    windows = header.windows_free + len(s.counters) - header.windows_end
    blocks = len(s.entries) // 8 - header.blocks_end
    return bool(header.groups < len(s.groups) and windows >= WINDOWS_A_ROW and blocks >= BLOCKS_A_ROW)


@inlined
def _book(s: State, campaign: Int, ts_ms: Int, cost: Int) -> bool:
    """Add a cost to total, week and day; True when it makes a running campaign's spend reach a budget."""
    camp = s.camp[campaign]
    camp.spent_total += cost
    if ts_ms >= camp.day_end_ms:
        camp.spent_day_after += cost
    elif ts_ms >= camp.day_start_ms:
        camp.spent_day += cost
    elif ts_ms >= camp.day_before_start_ms:
        camp.spent_day_before += cost
    if ts_ms >= camp.week_end_ms:
        camp.spent_week_after += cost
    elif ts_ms >= camp.week_start_ms:
        camp.spent_week += cost
    elif ts_ms >= camp.week_before_start_ms:
        camp.spent_week_before += cost
    if camp.state != RUNNING:
        return False
    reached = bool(
        camp.spent_total + camp.reserve >= camp.budget_total
        or camp.spent_week + camp.reserve >= camp.budget_week
        or camp.spent_day + camp.reserve >= camp.budget_day
    )
    if reached:
        camp.state = PAUSED
    return reached


@inlined
def _note_delay(s: State, campaign: Int, delay_ms: Int) -> None:
    """Move the campaign's 95% quantile of reporting delays: 19 parts up for one above, 1 part down for one below."""
    if delay_ms > DELAY_MS_MAX:
        return
    camp = s.camp[campaign]
    quantile_ms = camp.delay_ms
    part_ms = (quantile_ms >> 4) + DELAY_STEP_MS
    if delay_ms > quantile_ms:
        camp.delay_ms = quantile_ms + part_ms
    else:
        camp.delay_ms = max(quantile_ms - part_ms // 19, 0)


@inlined
def _group_of(s: State, slot: Int, campaign: Int, ts_ms: Int) -> Int:
    """The group that gathers the counters of a series in a 10 s window until the next flush."""
    number = ts_ms // TEN_MS
    place = 2 * slot + (number & 1)
    recent = s.recent[place]
    if recent.number == number and recent.group >= 0:
        return recent.group
    group = s.header[0].groups
    s.header[0].groups = group + 1
    gathered = s.groups[group]
    gathered.impressions = 0
    gathered.clicks = 0
    gathered.conversions = 0
    gathered.leads = 0
    gathered.spend = 0
    gathered.revenue = 0
    gathered.window = chain_of(s, slot, campaign, ts_ms)
    gathered.recent = place
    recent.number = number
    recent.group = group
    return group


@inlined
def _count_event(counted: Int, kind: Int, cost: Int, revenue: Int) -> None:
    """Add an event to the counters of a group or a window; `kind` is the code of its type."""
    if kind == IMPRESSION:
        counted.impressions += 1
    elif kind == CLICK:
        counted.clicks += 1
    elif kind == CONVERSION:
        counted.conversions += 1
    else:
        counted.leads += 1
    counted.spend += cost
    counted.revenue += revenue


@inlined
def _meet(s: State, campaign: Int, window: Int, h: Hash) -> None:
    """Count an actor in the 10 s windows of series and campaign and in the campaign's hour; the others learn later."""
    if add_actor(s.meta, s.entries, s.registers, s.header, window, h, SMALL):
        s.meta[window].fresh = 1
        # The campaign has met whoever one of its series has: it needs no look where the series knew the actor.
        above = np.int64(s.meta[window].up_campaign)
        if add_actor(s.meta, s.entries, s.registers, s.header, above, h, SMALL):
            s.meta[above].fresh = 1
    hour = np.int64(s.meta[window].up_campaign_hour)
    new_in_hour = add_actor(s.meta, s.entries, s.registers, s.header, hour, h, LARGE)
    if s.camp[campaign].half_hours != 0:
        # An hour that holds a midnight belongs to two days: each day must count for itself.
        day = np.int64(s.meta[s.meta[window].up_campaign].up_day)
        add_actor(s.meta, s.entries, s.registers, s.header, day, h, LARGE)
        add_actor(s.meta, s.entries, s.registers, s.header, s.camp[campaign].total_window, h, LARGE)
    elif new_in_hour:
        s.meta[hour].fresh = 1


@kernel
def _count_one(s: State, window: Int, kind: Int, cost: Int, revenue: Int) -> None:
    _count_event(s.counters[window], kind, cost, revenue)
    s.meta[window].dirty = 1


@kernel
def _count_late(s: State, rows: Rows, row: Int, slot: Int, campaign: Int) -> None:
    """An event whose 10 s window is closed: into the coarser windows that are still open, and the total."""
    ts_ms, kind, cost, revenue = rows.ts_ms[row], rows.type[row], rows.cost[row], rows.revenue[row]
    h = spread(rows.actor[row])
    met = rows.actor[row] != 0
    rows.late[s.header[0].late] = rows.position[row]
    s.header[0].late += 1
    for tier in range(MINUTE, DAY + 1):
        if ts_ms < s.camp[campaign].day_before_start_ms:
            break
        _, end_ms = bounds_of(s, campaign, tier, ts_ms)
        if end_ms + LATENESS_MS > s.camp[campaign].watermark_ms:
            window = window_of(s, True, slot, campaign, tier, ts_ms)
            above = window_of(s, False, campaign, campaign, tier, ts_ms)
            _count_one(s, window, kind, cost, revenue)
            _count_one(s, above, kind, cost, revenue)
            if met:
                add_actor(s.meta, s.entries, s.registers, s.header, window, h, SMALL)
                add_actor(s.meta, s.entries, s.registers, s.header, above, h, SMALL if tier == MINUTE else LARGE)
    total = s.camp[campaign].total_window
    _count_one(s, total, kind, cost, revenue)
    if met:
        add_actor(s.meta, s.entries, s.registers, s.header, total, h, LARGE)


@inlined
def _expect(s: State, rows: Rows, row: Int) -> None:
    """Ask for what rows a little further on will need: first the row of the series, then its newest windows."""
    far = row + 2 * AHEAD
    if far < len(rows.slot):
        slot = np.int64(rows.slot[far])
        prefetch(s.series, slot)
        prefetch(s.series_heads, slot)
        prefetch(s.recent, 2 * slot)
    near = row + AHEAD
    if near < len(rows.slot):
        slot = np.int64(rows.slot[near])
        for tier in range(TEN, DAY + 1):
            window = np.int64(s.series_heads[slot, tier])
            if window >= 0:
                prefetch(s.counters, window)
                prefetch(s.meta, window)


@kernel
def aggregate(s: State, rows: Rows, row: Int, now_ms: Int) -> tuple[Int, Int]:
    """Fold rows from `row` on into the state; returns the next row and why it stopped."""
    s, rows = unowned_state(s), unowned_rows(rows)
    while row < len(rows.slot):
        _expect(s, rows, row)
        slot = np.int64(rows.slot[row])
        campaign = np.int64(s.series[slot].campaign)
        ts_ms, cost = rows.ts_ms[row], rows.cost[row]
        stop = _advance(s, campaign, ts_ms, now_ms)
        if stop != DONE:
            return row, stop
        if not _has_room(s):
            return row, ROOM
        reached = cost > 0 and _book(s, campaign, ts_ms, cost)
        camp = s.camp[campaign]
        if cost > 0 and camp.step_at_ms != FAR_MS:
            _note_delay(s, campaign, now_ms - ts_ms)
        camp.stale = 1
        _, end_ms = bounds_of(s, campaign, TEN, ts_ms)
        # Days before the last are not kept, whatever the watermark says: it trails the clock after a jump.
        if end_ms + LATENESS_MS <= camp.watermark_ms or ts_ms < camp.day_before_start_ms:
            _count_late(s, rows, row, slot, campaign)
        else:
            group = _group_of(s, slot, campaign, ts_ms)
            _count_event(s.groups[group], rows.type[row], cost, rows.revenue[row])
            if rows.actor[row] != 0:
                _meet(s, campaign, s.groups[group].window, spread(rows.actor[row]))
        row += 1
        if reached:
            return row, BUDGET
    return row, DONE


@inlined
def _pour(s: State, group: Int, window: Int) -> None:
    """Add a group to a window."""
    counters, gathered = s.counters[window], s.groups[group]
    counters.impressions += gathered.impressions
    counters.clicks += gathered.clicks
    counters.conversions += gathered.conversions
    counters.leads += gathered.leads
    counters.spend += gathered.spend
    counters.revenue += gathered.revenue
    s.meta[window].dirty = 1


@kernel
def _merge_campaign_reach(s: State, above: Int) -> None:
    """Count who is new in a campaign's 10 s window in its minute, and who is new in its hour in its day and total."""
    meta = s.meta[above]
    if meta.fresh != 0:
        meta.fresh = 0
        merge_up(s.meta, s.entries, s.registers, s.header, above, np.int64(meta.up_minute), SMALL)
    hour = np.int64(meta.up_hour)
    if s.meta[hour].fresh != 0:
        s.meta[hour].fresh = 0
        day = np.int64(meta.up_day)
        total = s.camp[meta.owner].total_window
        merge_up(s.meta, s.entries, s.registers, s.header, hour, day, LARGE)
        merge_up(s.meta, s.entries, s.registers, s.header, day, total, LARGE)


@inlined
def _is_fresh(s: State, window: Int) -> bool:
    """Whether it is a 10 s window of a series that has met somebody new."""
    return bool(s.meta[window].kind == SERIES + TEN and s.meta[window].fresh != 0)


@inlined
def _prefetch_sketch(s: State, window: Int) -> None:
    prefetch(s.entries, (np.int64(s.meta[window].sketch) >> 4) * 8)


@inlined
def _expect_merge(s: State, window: Int) -> None:
    """Ask for the sketch of a window and the metadata above it."""
    if window < s.header[0].windows_end and _is_fresh(s, window):
        meta = s.meta[window]
        _prefetch_sketch(s, window)
        prefetch(s.meta, np.int64(meta.up_minute))
        prefetch(s.meta, np.int64(meta.up_hour))
        prefetch(s.meta, np.int64(meta.up_day))


@inlined
def _expect_sketches(s: State, window: Int) -> None:
    """Ask for the sketches above a window."""
    if window < s.header[0].windows_end and _is_fresh(s, window):
        meta = s.meta[window]
        _prefetch_sketch(s, np.int64(meta.up_minute))
        _prefetch_sketch(s, np.int64(meta.up_hour))
        _prefetch_sketch(s, np.int64(meta.up_day))


@kernel
def merge_series_reach(s: State, window: Int) -> Int:
    """Count who is new in series' 10 s windows, from `window` on, in the coarser windows of the series.

    Returns the next window: not the end where sketches need more room.
    """
    s = unowned_state(s)
    while window < s.header[0].windows_end:
        _expect_merge(s, window + 2 * AHEAD)
        _expect_sketches(s, window + AHEAD)
        if _is_fresh(s, window):
            if len(s.entries) // 8 - s.header[0].blocks_end < BLOCKS_A_ROW:
                return window
            meta = s.meta[window]
            meta.fresh = 0
            for up in (meta.up_minute, meta.up_hour, meta.up_day):
                merge_up(s.meta, s.entries, s.registers, s.header, window, np.int64(up), SMALL)
        window += 1
    return window


@inlined
def _expect_window(s: State, window: Int) -> None:
    prefetch(s.counters, window)
    prefetch(s.meta, window)


@inlined
def _expect_pour(s: State, group: Int) -> None:
    """Ask for the series' windows that groups a little further on go to."""
    far, near = group + 2 * AHEAD, group + AHEAD
    if far < s.header[0].groups:
        prefetch(s.meta, s.groups[far].window)
    if near < s.header[0].groups:
        gathered = s.groups[near]
        prefetch(s.counters, gathered.window)
        prefetch(s.recent, gathered.recent)
        meta = s.meta[gathered.window]
        _expect_window(s, np.int64(meta.up_minute))
        _expect_window(s, np.int64(meta.up_hour))
        _expect_window(s, np.int64(meta.up_day))


@kernel
def flush(s: State, group: Int) -> Int:
    """Add the gathered groups from `group` on to the windows of all tiers, and reach to those of campaigns.

    Returns the next group: not the end where sketches need more room.
    """
    s = unowned_state(s)
    while group < s.header[0].groups:
        if len(s.entries) // 8 - s.header[0].blocks_end < BLOCKS_A_ROW:
            return group
        _expect_pour(s, group)
        window = s.groups[group].window
        above = np.int64(s.meta[window].up_campaign)
        for bottom in (window, above):
            meta = s.meta[bottom]
            _pour(s, group, bottom)
            _pour(s, group, np.int64(meta.up_minute))
            _pour(s, group, np.int64(meta.up_hour))
            _pour(s, group, np.int64(meta.up_day))
        _pour(s, group, s.camp[s.meta[above].owner].total_window)
        _merge_campaign_reach(s, above)
        s.recent[s.groups[group].recent].group = -1
        group += 1
    s.header[0].groups = 0
    return group
