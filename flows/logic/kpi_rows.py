"""Changed windows as records of topic `kpis`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.harvest import MEASURES, measure
from flows.logic.layout import COUNTERS, DAY, HOUR, KIND, OWNER, SERIES, State
from flows.logic.registry import Registry
from schemas.batch import SeriesKey
from schemas.decode.kernel import kernel
from schemas.kpis import KpiBatch, Packed

# Windows in one record: about 300 KiB of JSON where nearly every one has an owner of its own.
ROWS_MAX: Final = 4_000
# A changed open window is reported every so many ticks: by tier at campaign level, all alike for series.
SLOW_TICKS: Final = 5
SERIES_TICKS: Final = 10

# Columns of a measured window. Kinds of cells are numbered as LEVELS and WINDOWS are: see `flows.logic.layout`.
_MEASURED: Final = (
    "impressions",
    "clicks",
    "conversions",
    "leads",
    "spend_micros",
    "revenue_micros",
    "reach",
    "window_start_ms",
    "window_end_ms",
)


def due_kinds(tick: int) -> NDArray[np.bool_]:
    """Which kinds of cell are reported at the tick-th tick while they are open."""
    due = np.ones(2 * SERIES, np.bool_)
    due[[HOUR, DAY]] = tick % SLOW_TICKS == 0
    due[SERIES:] = tick % SERIES_TICKS == 0
    return due


def kpi_batches(state: State, registry: Registry, cells: NDArray[np.int32]) -> list[KpiBatch]:
    """The windows of the cells, at most ROWS_MAX a record."""
    numbers = np.empty((MEASURES, len(cells)), np.int64)
    measure(state, cells, numbers)
    known = np.zeros(len(state.camp) + len(state.series), np.int32)
    return [
        _batch(state, registry, cells[first : first + ROWS_MAX], numbers[:, first : first + ROWS_MAX], known)
        for first in range(0, len(cells), ROWS_MAX)
    ]


@kernel
def _number_owners(
    links: NDArray[np.int32],
    cells: NDArray[np.int32],
    series_first: int,
    known: NDArray[np.int32],
    code: NDArray[np.int32],
    owners: NDArray[np.int32],
) -> int:
    """Number the owners of cells as they come; `known` is zero and is left so. Returns how many there are."""
    count = 0
    for row in range(len(cells)):
        owner = links[cells[row], OWNER]
        if links[cells[row], KIND] >= SERIES:
            owner += series_first
        if known[owner] == 0:
            owners[count] = owner
            count += 1
            known[owner] = count
        code[row] = known[owner] - 1
    for k in range(count):
        known[owners[k]] = 0
    return count


def _batch(
    state: State,
    registry: Registry,
    cells: NDArray[np.int32],
    numbers: NDArray[np.int64],
    known: NDArray[np.int32],
) -> KpiBatch:
    kinds = state.links[cells, KIND]
    code, owners = np.empty(len(cells), np.int32), np.empty(len(cells), np.int32)
    series_first = len(state.camp)
    count = _number_owners(state.links, cells, series_first, known, code, owners)
    counted: dict[str, Packed] = {name: Packed.of(numbers[k]) for k, name in enumerate(_MEASURED)}
    return KpiBatch(
        owners=[
            registry.series.key(owner - series_first) if owner >= series_first else _own(registry, owner)
            for owner in owners[:count].tolist()
        ],
        owner=Packed.of(code),
        level=Packed.of(kinds // SERIES),
        window=Packed.of(kinds % SERIES),
        version=Packed.of(numbers[: COUNTERS - 2].sum(axis=0)),
        **counted,
    )


def _own(registry: Registry, campaign: int) -> SeriesKey:
    """What a campaign's own windows go under."""
    return SeriesKey(*registry.campaigns.key(campaign), "", "", "", "")
