"""Changed windows as records of topic `kpis`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns.fold import Revisions
from flows.logic.campaigns.registry import Registry
from flows.logic.output.text_codes import coded
from flows.logic.windows.emission import Measured, measure
from flows.logic.windows.layout import DAY, HOUR, SERIES, Records, State, WindowMeta, columns
from schemas.decode.kernel import kernel
from schemas.kpis import KpiBatch, Owners, Packed

# Windows in one record: about 300 KiB of JSON where nearly every one has an owner of its own.
ROWS_MAX: Final = 4_000
# A changed open window is reported every so many ticks: by tier at campaign level, all alike for series.
SLOW_TICKS: Final = 5
SERIES_TICKS: Final = 10
_COUNTED: Final = ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros", "reach")


def due_kinds(tick: int) -> NDArray[np.bool_]:
    """Which kinds of window are reported at the tick-th tick while they are open."""
    due = np.ones(2 * SERIES, np.bool_)
    due[[HOUR, DAY]] = tick % SLOW_TICKS == 0
    due[SERIES:] = tick % SERIES_TICKS == 0
    return due


def kpi_batches(
    state: State, registry: Registry, windows: NDArray[np.int32], revisions: Revisions | None = None
) -> list[KpiBatch]:
    """The windows as records, at most ROWS_MAX in one.

    Where some were corrected, `revisions` says by how much each one's version is ahead of the events in it.
    """
    numbers, closed = Measured.room(len(windows)), np.empty(len(windows), np.uint8)
    measure(state, windows, numbers, closed)
    versions = numbers.impressions + numbers.clicks + numbers.conversions + numbers.leads
    if revisions is not None:
        versions += revisions[windows]
        # More may have been taken back in a window than came in it.
        numbers = numbers._replace(**{name: np.maximum(getattr(numbers, name), 0) for name in _COUNTED})
    known = np.zeros(len(state.camp) + len(state.series), np.int32)
    return [
        _batch(
            state,
            registry,
            windows[rows],
            Measured(*(column[rows] for column in numbers)),
            versions[rows],
            closed[rows],
            known,
        )
        for rows in (slice(first, first + ROWS_MAX) for first in range(0, len(windows), ROWS_MAX))
    ]


@kernel
def _number_owners(
    meta: Records[WindowMeta],
    windows: NDArray[np.int32],
    series_first: int,
    known: NDArray[np.int32],
    code: NDArray[np.int32],
    owners: NDArray[np.int32],
) -> int:
    """Number the owners of windows as they come; `known` is zero and is left so. Returns how many there are."""
    count = 0
    for row in range(len(windows)):
        owner = meta[windows[row]].owner
        if meta[windows[row]].kind >= SERIES:
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
    windows: NDArray[np.int32],
    numbers: Measured,
    versions: NDArray[np.int64],
    closed: NDArray[np.uint8],
    known: NDArray[np.int32],
) -> KpiBatch:
    # Kinds of windows are numbered as LEVELS and WINDOWS are: see `flows.logic.windows.layout`.
    kinds = columns(state.meta)["kind"][windows]
    code, owners = np.empty(len(windows), np.int32), np.empty(len(windows), np.int32)
    series_first = len(state.camp)
    count = _number_owners(state.meta, windows, series_first, known, code, owners)
    packed: dict[str, Any] = {name: Packed.of(column) for name, column in numbers._asdict().items()}
    return KpiBatch(
        owners=_named(registry, owners[:count], series_first, code),
        owner=Packed.of(code),
        level=Packed.of(kinds // SERIES),
        window=Packed.of(kinds % SERIES),
        version=Packed.of(versions),
        closed=Packed.of(closed.astype(np.int64)),
        **packed,
    )


def _named(registry: Registry, owners: NDArray[np.int32], series_first: int, code: NDArray[np.int32]) -> Owners:
    """The owners' texts, those of campaigns first: `code` is made to say so."""
    is_series = owners >= series_first
    order = np.argsort(is_series, kind="stable")
    place = np.empty(len(owners), np.int32)
    place[order] = np.arange(len(owners), dtype=np.int32)
    code[:] = place[code]
    starts, lengths = registry.places(owners[~is_series], owners[is_series] - np.int32(series_first))
    texts, codes = coded(registry.text, starts.T, lengths.T)
    return Owners.of(texts, codes)
