"""The state arrays of a campaign shard: what their rows hold, by name, and the tuple of them that its kernels work on.

NumPy records of plain numbers, so that compiled code reaches everything by name (`camp[slot].spent_day`) and a snapshot
is a copy of memory. Money is in micros of the campaign's currency; times are named `..._ms`, in milliseconds.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from schemas.events import FUTURE_MS_MAX
from schemas.kpis import ALLOWED_LATENESS_MS

# An integer of compiled code, which knows Python's and numpy's as one.
Int: TypeAlias = Any
Hash: TypeAlias = Any

LATENESS_MS: Final = ALLOWED_LATENESS_MS
# A watermark runs ahead of the log clock by at most this much: the clock ticks once a second, and a sender's clock
# that is wrong must not close windows and days of the others.
AHEAD_MS: Final = 5_000
# Beyond this the log clock says nothing about the events (an offline run without a clock): event time alone counts. A
# day more than an event may be ahead, for events stamped by a clock that has leapt and is not believed yet.
CLOCKLESS_MS: Final = 86_400_000 + FUTURE_MS_MAX
FAR_MS: Final = 2**62

# Tiers of tumbling windows.
TEN, MINUTE, HOUR, DAY = 0, 1, 2, 3
TEN_MS, MINUTE_MS, HOUR_MS = 10_000, 60_000, 3_600_000
# Kind of a window: tier for a campaign's, 4 + tier for a series', TOTAL for all of a campaign since known.
SERIES: Final = 4
TOTAL: Final = 8
FREE: Final = -1

RUNNING, PAUSED, UNKNOWN = 1, 0, 2

R_co = TypeVar("R_co", covariant=True)


class Records(Protocol[R_co]):
    """An array of records as compiled code sees it: rows with named fields, which mypy knows. See `columns`."""

    def __getitem__(self, row: Int) -> R_co: ...

    def __len__(self) -> int: ...


def columns(records: Records[Any]) -> NDArray[np.void]:
    """The same array as Python sees it: columns by name, slices, rows."""
    return cast("NDArray[np.void]", records)


def _dtype(row: type, number: type[np.integer[Any]], *, room_bytes: int = 0) -> np.dtype[np.void]:
    """The record of a row's fields, all of one kind of number, and some room behind them."""
    names = list(row.__annotations__)
    width = np.dtype(number).itemsize
    offsets = [width * place for place in range(len(names))]
    itemsize = width * len(names) + room_bytes
    fields = {"names": names, "formats": [number] * len(names), "offsets": offsets, "itemsize": itemsize}
    return np.dtype(fields, align=True)  # type: ignore[call-overload,no-any-return]


class CampaignRow:
    """A campaign."""

    watermark_ms: Int
    # The event time at which Python must look at the campaign: end of day or week, start or end of the campaign.
    boundary_ms: Int
    # 1 once an event was seen.
    seen: Int
    # Clock time by which the watermark still trails the log clock after a jump of that clock.
    behind_ms: Int
    # RUNNING, PAUSED or UNKNOWN (no definition, no decisions).
    state: Int
    spent_total: Int
    spent_day_before: Int
    spent_day: Int
    spent_day_after: Int
    spent_week_before: Int
    spent_week: Int
    spent_week_after: Int
    # FAR_MS where there is no such budget.
    budget_total: Int
    budget_week: Int
    budget_day: Int
    day_before_start_ms: Int
    day_start_ms: Int
    day_end_ms: Int
    day_after_end_ms: Int
    week_before_start_ms: Int
    week_start_ms: Int
    week_end_ms: Int
    # 1 where a day may begin inside an hour (zones with half hours).
    half_hours: Int
    # The window of all since the campaign is known.
    total_window: Int
    # The partition that its events come in; FREE for a row that is no campaign's.
    home: Int
    # 1 while the live row is older than the state.
    stale: Int
    # How many windows it has, without those of its series.
    windows: Int
    # Clock at which the campaign's bidding is looked at next; FAR_MS without a strategy.
    step_at_ms: Int
    # Spend held back for what was won and is not reported yet.
    reserve: Int
    # How long the slowest twentieth of costs takes from the auction to the log clock.
    delay_ms: Int
    # Of the campaign's last decision.
    sequence: Int


class SeriesRow:
    """A series: the slot of its campaign (FREE: no series here), and how many windows it has."""

    campaign: Int
    windows: Int


class Counted:
    """What is counted of events."""

    impressions: Int
    clicks: Int
    conversions: Int
    leads: Int
    spend: Int
    revenue: Int


class WindowCounters(Counted):
    """What is counted of a window, and when it is. One row is one cache line."""

    start_ms: Int
    end_ms: Int


class WindowMeta:
    """Whose a window is, what it is, and which windows are above and beside it; FREE where there is none."""

    # Slot of the campaign or the series.
    owner: Int
    kind: Int
    # Handle of the sketch of its actors (0: none), and how many entries of that are used while it is sparse.
    sketch: Int
    sketch_used: Int
    # Of 10 s windows: the coarser ones of the same owner.
    up_minute: Int
    up_hour: Int
    up_day: Int
    # Of a series' 10 s windows: the 10 s window and the hour of the campaign.
    up_campaign: Int
    up_campaign_hour: Int
    # 1 while it was not reported since it changed.
    dirty: Int
    # 1 while the sketch holds actors that the windows above have not counted.
    fresh: Int
    # The owner's list of a tier, newest first.
    next: Int
    prev: Int


class Group(Counted):
    """Events of a series' 10 s window that are not yet added to windows, and the row of `recent` that points here."""

    window: Int
    recent: Int


class Recent:
    """The number of a series' 10 s window, and its group (FREE: none)."""

    number: Int
    group: Int


class Header:
    """What the pools of windows, groups and sketch blocks have given out."""

    windows_end: Int
    # How many windows before the end were given back.
    windows_free: Int
    groups: Int
    blocks_end: Int
    # Late events of the batch at hand.
    late: Int
    # Heads of the lists of blocks given back, by binary logarithm of their size; 0: none.
    blocks_free: NDArray[np.int64]


def _counted_dtype(row: type[Counted]) -> np.dtype[np.void]:
    both = type(row.__name__, (), {"__annotations__": Counted.__annotations__ | row.__annotations__})
    return _dtype(both, np.int64)


CAMPAIGN: Final = _dtype(CampaignRow, np.int64)
SERIES_ROW: Final = _dtype(SeriesRow, np.int32)
WINDOW_COUNTERS: Final = _counted_dtype(WindowCounters)
# One row is one cache line.
WINDOW_META: Final = _dtype(WindowMeta, np.int32, room_bytes=12)
GROUP: Final = _counted_dtype(Group)
RECENT: Final = _dtype(Recent, np.int64)
# Sizes of sketch blocks are powers of two up to 2^7.
_BLOCK_SIZES: Final = 8
HEADER: Final = np.dtype(
    [(name, np.int64, (_BLOCK_SIZES,) if name == "blocks_free" else ()) for name in Header.__annotations__]
)

# What one event may need at most; checked before a row is touched.
WINDOWS_A_ROW: Final = 12
BLOCKS_A_ROW: Final = 12 * 64


class State(NamedTuple):
    """Arrays of one campaign shard. Rows beyond the ends in `header` are room to grow."""

    camp: Records[CampaignRow]
    # Heads of the lists of windows, newest first: [campaign, tier] and [series, tier].
    camp_heads: NDArray[np.int32]
    series_heads: NDArray[np.int32]
    series: Records[SeriesRow]
    # By number of the window.
    counters: Records[WindowCounters]
    meta: Records[WindowMeta]
    free_windows: NDArray[np.int32]
    groups: Records[Group]
    # Two for a series: by parity of the 10 s window's number.
    recent: Records[Recent]
    # Sketch memory, one array seen as 16-bit entries and as bytes.
    entries: NDArray[np.uint16]
    registers: NDArray[np.uint8]
    # One row.
    header: Records[Header]


class Rows(NamedTuple):
    """Columns of a batch that the kernels read, `slot` being the shard's own number of the series."""

    slot: NDArray[np.int32]
    type: NDArray[np.uint8]
    ts_ms: NDArray[np.int64]
    cost: NDArray[np.int64]
    revenue: NDArray[np.int64]
    actor: NDArray[np.uint64]
    position: NDArray[np.int64]
    # Filled by the kernel: positions of late events.
    late: NDArray[np.int64]
