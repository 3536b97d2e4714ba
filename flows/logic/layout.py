"""Columns of the state arrays of a campaign shard, and the tuple of arrays that its kernels work on.

Plain numbers and numpy arrays, so that compiled code reaches everything and a snapshot is a copy of memory.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

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
# Kind of a cell: tier for a campaign's window, 4 + tier for a series' window, TOTAL for all of a campaign since known.
SERIES: Final = 4
TOTAL: Final = 8
FREE: Final = -1

# Columns of `camp`, one row a campaign.
WATERMARK: Final = 0
# The event time at which Python must look at the campaign: end of day or week, start or end of the campaign.
BOUNDARY: Final = 1
# 1 once an event was seen.
SEEN: Final = 2
# Clock time by which the watermark still trails the log clock after a jump of that clock.
BEHIND: Final = 3
# RUNNING, PAUSED or UNKNOWN (no definition, no decisions).
STATE: Final = 4
SPENT_TOTAL: Final = 5
SPENT_DAY_BEFORE: Final = 6
SPENT_DAY: Final = 7
SPENT_DAY_AFTER: Final = 8
SPENT_WEEK_BEFORE: Final = 9
SPENT_WEEK: Final = 10
SPENT_WEEK_AFTER: Final = 11
BUDGET_TOTAL: Final = 12
BUDGET_WEEK: Final = 13
BUDGET_DAY: Final = 14
DAY_BEFORE_START: Final = 15
DAY_START: Final = 16
DAY_END: Final = 17
DAY_AFTER_END: Final = 18
WEEK_BEFORE_START: Final = 19
WEEK_START: Final = 20
WEEK_END: Final = 21
# 1 where a day may begin inside an hour (zones with half hours).
HALF_HOURS: Final = 22
TOTAL_CELL: Final = 23
HOME: Final = 24
# 1 while the live row is older than the state.
STALE: Final = 25
CELLS: Final = 26
# Clock at which the campaign's bidding is looked at next; FAR_MS without a strategy.
STEP_AT: Final = 27
# Spend held back for what was won and is not reported yet.
RESERVE: Final = 28
# How long the slowest twentieth of costs takes from the auction to the log clock.
DELAY: Final = 29
# Of the campaign's last decision.
SEQUENCE: Final = 30
CAMP_COLUMNS: Final = 32

RUNNING, PAUSED, UNKNOWN = 1, 0, 2

# Columns of `cells`: counters by event type, money, and the window. One row is one cache line.
COUNTERS: Final = 6
SPEND: Final = 4
REVENUE: Final = 5
START: Final = 6
END: Final = 7

# Columns of `links`.
OWNER: Final = 0
KIND: Final = 1
SKETCH: Final = 2
SKETCH_USED: Final = 3
UP_MINUTE: Final = 4
UP_HOUR: Final = 5
UP_DAY: Final = 6
# The campaign's 10 s cell above a series' 10 s cell.
UP_CAMPAIGN: Final = 7
DIRTY: Final = 8
NEXT: Final = 9
PREV: Final = 10
# 1 while the sketch holds actors that the windows above have not counted.
FRESH: Final = 11
# The campaign's hour above a series' 10 s cell.
UP_CAMPAIGN_HOUR: Final = 12
LINK_COLUMNS: Final = 16

# Places in `marks`.
CELLS_END: Final = 0
CELLS_FREE: Final = 1
GROUPS: Final = 2
BLOCKS_END: Final = 3
LATE: Final = 4
# Heads of the free lists of sketch blocks, by binary logarithm of their size.
BLOCKS_FREE: Final = 8
MARKS: Final = 16

# What one event may need at most; checked before a row is touched.
CELLS_A_ROW: Final = 12
BLOCKS_A_ROW: Final = 12 * 64


class State(NamedTuple):
    """Arrays of one campaign shard. Rows beyond the ends in `marks` are room to grow."""

    camp: NDArray[np.int64]
    # Heads of the lists of cells, newest window first: [campaign, tier] and [series, tier].
    camp_heads: NDArray[np.int32]
    series_heads: NDArray[np.int32]
    # Campaign of a series and its number of cells.
    series: NDArray[np.int32]
    cells: NDArray[np.int64]
    links: NDArray[np.int32]
    free_cells: NDArray[np.int32]
    # Counters of events not yet added to cells, by (series, 10 s): counters, cell, and the place in `recent`.
    groups: NDArray[np.int64]
    # For [series, parity of the 10 s window]: the window's number and its group.
    recent: NDArray[np.int64]
    # Sketch memory, one array seen as 16-bit entries and as bytes.
    entries: NDArray[np.uint16]
    registers: NDArray[np.uint8]
    marks: NDArray[np.int64]


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
