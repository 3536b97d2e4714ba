"""Live rows: the state of campaigns that changed, complete, paced by the wall clock of the source."""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.logic.budgets.kinds import budget_states
from flows.logic.budgets.ledger import Ledger
from flows.logic.campaigns.registry import Registry
from flows.logic.windows.arrays import Arrays
from flows.logic.windows.emission import LiveNumbers, measure_live
from schemas.decisions import Reason
from schemas.kpis import ROLLING_MS, Counters
from schemas.live import CampaignLive

# Faster than an eye and a browser. A row costs some 50 us to make: after many rows the next wait longer, so that live
# rows stay at a tenth of a core, and at most ROWS_MAX go at once, so that they hold events up by 10 ms at most.
INTERVAL_MS: Final = 40
INTERVAL_MS_A_ROW: Final = 0.5
ROWS_MAX: Final = 200
# Campaigns with a decision in this step are shown at once, so many of them; the others in their turn.
DECIDED_MAX: Final = 20
# Every campaign's row is made anew at least once in so many ticks, changed or not.
REFRESH_TICKS: Final = 50

_STATES: Final = {Reason.NOT_STARTED: "scheduled", Reason.ENDED: "ended"}


_COUNTED: Final = ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros", "reach")


class LivePace:
    """When live rows are due, and whose turn it is."""

    def __init__(self) -> None:
        self._last_ms = 0
        self._wait_ms: float = 0
        self._turn = 0

    def due(self, read_ms: int, stale: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the campaigns that changed (slots, rising) get a row now; those that waited longest first.

        A clock that was set back starts anew.
        """
        if len(stale) == 0 or not self.may_be_due(read_ms):
            return stale[:0]
        after = int(np.searchsorted(stale, self._turn))
        chosen = np.concatenate([stale[after:], stale[:after]])[:ROWS_MAX]
        self._turn = int(chosen[-1]) + 1
        self._last_ms, self._wait_ms = read_ms, max(INTERVAL_MS, len(chosen) * INTERVAL_MS_A_ROW)
        return chosen

    def may_be_due(self, read_ms: int) -> bool:
        """Whether it is worth looking at what waits."""
        return not 0 <= read_ms - self._last_ms < self._wait_ms


class _Numbers(NamedTuple):
    """A row of `emission.MEASURE` in Python."""

    impressions: int
    clicks: int
    conversions: int
    leads: int
    spend_micros: int
    revenue_micros: int
    reach: int
    window_start_ms: int
    window_end_ms: int

    @property
    def counters(self) -> Counters:
        return Counters(
            impressions=self.impressions,
            clicks=self.clicks,
            conversions=self.conversions,
            leads=self.leads,
            spend_micros=self.spend_micros,
            revenue_micros=self.revenue_micros,
            reach=self.reach,
        )


class _LiveRow(NamedTuple):
    """A row of each of `emission.LiveNumbers`."""

    today: _Numbers
    total: _Numbers
    rolling_1m: _Numbers
    rolling_5m: _Numbers
    rolling_1h: _Numbers
    rolling_24h: _Numbers
    newest: _Numbers
    previous: _Numbers


def live_rows(
    arrays: Arrays,
    registry: Registry,
    ledger: Ledger,
    campaigns: NDArray[np.int64],
    now_ms: int,
    corrected: bool = False,
) -> list[CampaignLive]:
    """The rows of campaigns; all windows must be flushed. Where some were `corrected` nothing is shown below zero."""
    numbers = LiveNumbers.room(len(campaigns))
    measure_live(arrays.state, campaigns, numbers)
    if corrected:
        for section, name in product(numbers, _COUNTED):
            np.maximum(section[name], 0, out=section[name])
    rows = zip(*(map(_Numbers._make, section.tolist()) for section in numbers), strict=True)
    return [
        _live_row(registry, ledger, slot, arrays.campaign(slot), _LiveRow(*row), now_ms)
        for slot, row in zip(campaigns.tolist(), rows, strict=True)
    ]


def _live_row(
    registry: Registry, ledger: Ledger, slot: int, camp: np.void, shown: _LiveRow, now_ms: int
) -> CampaignLive:
    key, standing = registry.campaigns.key(slot), ledger.standing(slot)
    campaign, reason = standing.campaign, standing.reason
    if campaign is None:
        state = "unknown"
    elif reason is None:
        state = "active"
    else:
        state = _STATES.get(reason, "paused")
    rolling = (shown.rolling_1m, shown.rolling_5m, shown.rolling_1h, shown.rolling_24h)
    return CampaignLive(
        org_id=key.org_id,
        campaign_id=key.campaign_id,
        name=key.campaign_id if campaign is None else campaign.name,
        currency="" if campaign is None else campaign.currency,
        time_zone=standing.zone,
        state=state,
        state_reason=None if reason is None else reason.value,
        version=standing.version,
        watermark_ms=int(camp["watermark_ms"]),
        now_ms=now_ms,
        today=shown.today.counters,
        total=shown.total.counters,
        rolling={name: numbers.counters for name, numbers in zip(ROLLING_MS, rolling, strict=True)},
        windows=[(numbers.window_start_ms, numbers.counters) for numbers in (shown.newest, shown.previous)],
        budgets=[] if campaign is None else budget_states(camp),
    )
