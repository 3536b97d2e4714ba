"""The state arrays of a campaign shard: made, grown, copied for a snapshot, read back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flows.logic import layout as at
from flows.logic.absorb import flush, raise_series
from flows.logic.cells import release_cell, take_cell
from flows.logic.layout import State

# Groups between two flushes; 64 bytes each.
GROUPS_MAX: Final = 32_768
_ROWS_MIN: Final = 64
_BLOCKS_MIN: Final = 4 * at.BLOCKS_A_ROW


# Arrays grow by so much at once: what is not used yet takes no memory, and is not copied at the next growth.
_GROWTH: Final = 4


def _longer(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """The array with room for more rows. What is there is never read before a row is taken and written."""
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


class Arrays:
    """Owner of a `State`; arrays grow when they are full."""

    def __init__(self) -> None:
        self.campaigns = 0
        self.series = 0
        marks = np.zeros(at.MARKS, np.int64)
        # Block 0 stays empty: handle 0 means no sketch.
        marks[at.BLOCKS_END] = 1
        entries = np.zeros(8 * _BLOCKS_MIN, np.uint16)
        self.state = State(
            camp=np.zeros((_ROWS_MIN, at.CAMP_COLUMNS), np.int64),
            camp_heads=np.full((_ROWS_MIN, 4), -1, np.int32),
            series_heads=np.full((_ROWS_MIN, 4), -1, np.int32),
            series=np.full((_ROWS_MIN, 2), -1, np.int32),
            cells=np.zeros((_ROWS_MIN, 8), np.int64),
            links=np.full((_ROWS_MIN, at.LINK_COLUMNS), at.FREE, np.int32),
            free_cells=np.zeros(_ROWS_MIN, np.int32),
            groups=np.zeros((256, 8), np.int64),
            recent=np.full((2 * _ROWS_MIN, 2), -1, np.int64),
            entries=entries,
            registers=entries.view(np.uint8),
            marks=marks,
        )

    def add_campaign(self, slot: int) -> NDArray[np.int64]:
        """A zeroed row of `camp`."""
        self.campaigns = max(self.campaigns, slot + 1)
        s = self.state
        if slot >= len(s.camp):
            rows = _GROWTH * len(s.camp)
            self.state = s._replace(camp=_longer(s.camp, rows), camp_heads=_longer(s.camp_heads, rows))
        row: NDArray[np.int64] = self.state.camp[slot]
        row[:] = 0
        self.state.camp_heads[slot] = -1
        return row

    def add_series(self, slots: list[int], campaigns: list[int]) -> None:
        """Rows for series of campaigns."""
        self.series = max(self.series, max(slots) + 1)
        s = self.state
        if self.series > len(s.series):
            rows = max(_GROWTH * len(s.series), 1 << self.series.bit_length())
            s = self.state = s._replace(
                series=_longer(s.series, rows),
                series_heads=_longer(s.series_heads, rows),
                recent=_longer(s.recent, 2 * rows),
            )
        s.series[slots, 0] = campaigns
        s.series[slots, 1] = 0
        s.series_heads[slots] = -1
        s.recent.reshape(-1, 2, 2)[slots] = -1

    def take_total(self, slot: int, now_ms: int) -> int:
        """A cell for all of a campaign since `now_ms`."""
        self.make_room()
        return int(take_cell(self.state, at.TOTAL, slot, now_ms, at.FAR_MS))

    def drop_total(self, cell: int) -> None:
        """Give a campaign's cell back."""
        release_cell(self.state, cell)

    def make_room(self) -> None:
        """Flush, and grow what is nearly full, so that at least one more row fits."""
        full = self.state.marks[at.GROUPS] == len(self.state.groups)
        self.flush()
        self._grow_sketches()
        s = self.state
        if full and len(s.groups) < GROUPS_MAX:
            s = s._replace(groups=_longer(s.groups, 2 * len(s.groups)))
        cells = len(s.cells)
        if s.marks[at.CELLS_FREE] + cells - s.marks[at.CELLS_END] < at.CELLS_A_ROW:
            s = s._replace(
                cells=_longer(s.cells, _GROWTH * cells),
                links=_longer(s.links, _GROWTH * cells),
                free_cells=_longer(s.free_cells, _GROWTH * cells),
            )
        self.state = s

    def _grow_sketches(self) -> None:
        s = self.state
        if len(s.entries) // 8 - s.marks[at.BLOCKS_END] < at.BLOCKS_A_ROW:
            entries = _longer(s.entries, _GROWTH * len(s.entries))
            self.state = s._replace(entries=entries, registers=entries.view(np.uint8))

    def flush(self) -> None:
        """Bring all windows up to date, but for the reach of series."""
        group = 0
        while self.state.marks[at.GROUPS] > 0:
            group = flush(self.state, group)
            self._grow_sketches()

    def flush_series_reach(self) -> None:
        """Bring the reach of series up to date, too: dearer, and nobody sees it before it is reported."""
        cell = 0
        while cell < self.state.marks[at.CELLS_END]:
            cell = raise_series(self.state, cell)
            self._grow_sketches()

    def memory_bytes(self) -> int:
        """Size of all arrays, room to grow included."""
        return sum(array.nbytes for name, array in self.state._asdict().items() if name != "registers")

    def snapshot(self, *, copied: bool = True) -> dict[str, NDArray[Any]]:
        """The used rows; without copies they are good until the next step."""
        self.flush()
        s = self.state
        cells = int(s.marks[at.CELLS_END])
        used: dict[str, NDArray[Any]] = {
            "camp": s.camp[: self.campaigns],
            "camp_heads": s.camp_heads[: self.campaigns],
            "series": s.series[: self.series],
            "series_heads": s.series_heads[: self.series],
            "cells": s.cells[:cells],
            "links": s.links[:cells],
            "free_cells": s.free_cells[: s.marks[at.CELLS_FREE]],
            "entries": s.entries[: 8 * s.marks[at.BLOCKS_END]],
            "marks": s.marks,
        }
        return {name: rows.copy() for name, rows in used.items()} if copied else used

    @classmethod
    def restore(cls, snapshot: dict[str, NDArray[Any]]) -> Arrays:
        """The arrays of a snapshot, with room to grow."""
        arrays = cls()
        arrays.campaigns, arrays.series = len(snapshot["camp"]), len(snapshot["series"])

        def roomy(name: str, least: int) -> NDArray[Any]:
            kept = snapshot[name]
            return _longer(kept, max(least, 1 << (len(kept) + len(kept) // 8).bit_length()))

        cells = roomy("cells", _ROWS_MIN)
        series = roomy("series", _ROWS_MIN)
        camp = roomy("camp", _ROWS_MIN)
        entries = roomy("entries", 8 * _BLOCKS_MIN)
        arrays.state = arrays.state._replace(
            camp=camp,
            camp_heads=_longer(snapshot["camp_heads"], len(camp)),
            series=series,
            series_heads=_longer(snapshot["series_heads"], len(series)),
            recent=np.full((2 * len(series), 2), -1, np.int64),
            cells=cells,
            links=_longer(snapshot["links"], len(cells)),
            free_cells=_longer(snapshot["free_cells"], len(cells)),
            entries=entries,
            registers=entries.view(np.uint8),
            marks=snapshot["marks"].copy(),
        )
        return arrays
