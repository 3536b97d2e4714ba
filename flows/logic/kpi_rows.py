"""Changed windows as records of topic `kpis`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.harvest import MEASURES, REACH, measure
from flows.logic.layout import COUNTERS, DAY, HOUR, KIND, OWNER, SERIES, State
from flows.logic.registry import Registry
from schemas.kpis import KpiBatch, Level, Window

# Windows in one record: about 300 KiB of JSON.
ROWS_MAX: Final = 2_000
# A changed open window is reported every so many ticks: by tier at campaign level, all alike for series.
SLOW_TICKS: Final = 5
SERIES_TICKS: Final = 10

_WINDOWS: Final = [Window.TEN_SECONDS.value, Window.MINUTE.value, Window.HOUR.value, Window.DAY.value]


def due_kinds(tick: int) -> NDArray[np.bool_]:
    """Which kinds of cell are reported at the tick-th tick while they are open."""
    due = np.ones(2 * SERIES, np.bool_)
    due[[HOUR, DAY]] = tick % SLOW_TICKS == 0
    due[SERIES:] = tick % SERIES_TICKS == 0
    return due


def kpi_batches(state: State, registry: Registry, cells: NDArray[np.int32]) -> list[KpiBatch]:
    """The windows of the cells, at most ROWS_MAX a record."""
    return [_batch(state, registry, cells[first : first + ROWS_MAX]) for first in range(0, len(cells), ROWS_MAX)]


def _batch(state: State, registry: Registry, cells: NDArray[np.int32]) -> KpiBatch:
    numbers = np.zeros((len(cells), MEASURES), np.int64)
    measure(state, cells, numbers)
    kinds = state.links[cells, KIND].tolist()
    owners = state.links[cells, OWNER].tolist()
    names = [
        registry.series.key(owner) if kind >= SERIES else (*registry.campaigns.key(owner), "", "", "", "")
        for owner, kind in zip(owners, kinds, strict=True)
    ]
    org_id, campaign_id, creative_id, channel, country, device = (list(c) for c in zip(*names, strict=True))
    columns = numbers.T.tolist()
    return KpiBatch(
        org_id=org_id,
        campaign_id=campaign_id,
        level=[Level.SERIES.value if kind >= SERIES else Level.CAMPAIGN.value for kind in kinds],
        creative_id=creative_id,
        channel=channel,
        country=country,
        device=device,
        window=[_WINDOWS[kind & 3] for kind in kinds],
        window_start_ms=columns[REACH + 1],
        window_end_ms=columns[REACH + 2],
        impressions=columns[0],
        clicks=columns[1],
        conversions=columns[2],
        leads=columns[3],
        spend_micros=columns[4],
        revenue_micros=columns[5],
        reach=columns[REACH],
        version=numbers[:, : COUNTERS - 2].sum(axis=1).tolist(),
    )
