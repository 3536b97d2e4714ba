"""The state arrays of a campaign shard: made, grown, copied for a snapshot, read back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.kept import fitted
from flows.logic.windows import layout as at
from flows.logic.windows.aggregation import flush, merge_series_reach
from flows.logic.windows.layout import State
from flows.logic.windows.pool import release_window, take_window

# Groups between two flushes; 64 bytes each.
GROUPS_MAX: Final = 32_768
_ROWS_MIN: Final = 64
_BLOCKS_MIN: Final = 4 * at.BLOCKS_A_ROW


# Arrays grow by so much at once: what is not used yet takes no memory, and is not copied at the next growth.
_GROWTH: Final = 4


def _longer(array: Any, rows: int) -> Any:
    """The array with room for more rows. What is there is never read before a row is taken and written."""
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


class Arrays:
    """Owner of a `State`; arrays grow when they are full."""

    def __init__(self) -> None:
        self.campaigns = 0
        self.series = 0
        header = np.zeros(1, at.HEADER)
        # Block 0 stays empty: handle 0 means no sketch.
        header["blocks_end"] = 1
        entries = np.zeros(8 * _BLOCKS_MIN, np.uint16)
        self.state = State(
            camp=np.zeros(_ROWS_MIN, at.CAMPAIGN),
            camp_heads=np.full((_ROWS_MIN, 4), at.FREE, np.int32),
            series_heads=np.full((_ROWS_MIN, 4), at.FREE, np.int32),
            series=np.full(_ROWS_MIN, at.FREE, at.SERIES_ROW),
            counters=np.zeros(_ROWS_MIN, at.WINDOW_COUNTERS),
            meta=np.full(_ROWS_MIN, at.FREE, at.WINDOW_META),
            free_windows=np.zeros(_ROWS_MIN, np.int32),
            groups=np.zeros(256, at.GROUP),
            recent=np.full(2 * _ROWS_MIN, at.FREE, at.RECENT),
            entries=entries,
            registers=entries.view(np.uint8),
            header=header,
        )

    @property
    def header(self) -> np.void:
        """What the pools have given out: fields of `layout.HEADER`."""
        row: np.void = at.columns(self.state.header)[0]
        return row

    def campaign(self, slot: int) -> np.void:
        """A campaign's row, to read and to write by the names of `layout.CAMPAIGN`; good until rows are added."""
        row: np.void = at.columns(self.state.camp)[slot]
        return row

    def campaigns_used(self) -> NDArray[np.void]:
        """The rows of campaigns, free ones among them, and their columns by name."""
        return at.columns(self.state.camp)[: self.campaigns]

    def series_used(self) -> NDArray[np.void]:
        """The rows of series, free ones among them, and their columns by name."""
        return at.columns(self.state.series)[: self.series]

    def add_campaign(self, slot: int) -> np.void:
        """A zeroed row of `camp`."""
        self.campaigns = max(self.campaigns, slot + 1)
        s = self.state
        if slot >= len(s.camp):
            rows = _GROWTH * len(s.camp)
            self.state = s._replace(camp=_longer(s.camp, rows), camp_heads=_longer(s.camp_heads, rows))
        at.columns(self.state.camp)[slot] = 0
        self.state.camp_heads[slot] = at.FREE
        return self.campaign(slot)

    def add_series(self, slots: NDArray[np.int32], campaigns: NDArray[np.int32]) -> None:
        """Rows for series of campaigns."""
        self.series = max(self.series, int(slots.max()) + 1)
        s = self.state
        if self.series > len(s.series):
            rows = max(_GROWTH * len(s.series), 1 << self.series.bit_length())
            s = self.state = s._replace(
                series=_longer(s.series, rows),
                series_heads=_longer(s.series_heads, rows),
                recent=_longer(s.recent, 2 * rows),
            )
        series = self.series_used()
        series["campaign"][slots] = campaigns
        series["windows"][slots] = 0
        s.series_heads[slots] = at.FREE
        at.columns(s.recent).reshape(-1, 2)[slots] = at.FREE

    def take_total(self, slot: int, now_ms: int) -> int:
        """A window for all of a campaign since `now_ms`."""
        self.make_room()
        return int(take_window(self.state, at.TOTAL, slot, now_ms, at.FAR_MS))

    def drop_total(self, window: int) -> None:
        """Give a campaign's window back."""
        release_window(self.state, window)

    def make_room(self) -> None:
        """Flush, and grow what is nearly full, so that at least one more row fits."""
        full = self.header["groups"] == len(self.state.groups)
        self.flush()
        self._grow_sketches()
        s = self.state
        if full and len(s.groups) < GROUPS_MAX:
            s = s._replace(groups=_longer(s.groups, 2 * len(s.groups)))
        windows, header = len(s.counters), self.header
        if header["windows_free"] + windows - header["windows_end"] < at.WINDOWS_A_ROW:
            s = s._replace(
                counters=_longer(s.counters, _GROWTH * windows),
                meta=_longer(s.meta, _GROWTH * windows),
                free_windows=_longer(s.free_windows, _GROWTH * windows),
            )
        self.state = s

    def _grow_sketches(self) -> None:
        s = self.state
        if len(s.entries) // 8 - self.header["blocks_end"] < at.BLOCKS_A_ROW:
            entries = _longer(s.entries, _GROWTH * len(s.entries))
            self.state = s._replace(entries=entries, registers=entries.view(np.uint8))

    def flush(self) -> None:
        """Bring all windows up to date, but for the reach of series."""
        group = 0
        while self.header["groups"] > 0:
            group = flush(self.state, group)
            self._grow_sketches()

    def flush_series_reach(self) -> None:
        """Bring the reach of series up to date, too: dearer, and nobody sees it before it is reported."""
        window = 0
        while window < self.header["windows_end"]:
            window = merge_series_reach(self.state, window)
            self._grow_sketches()

    def memory_bytes(self) -> int:
        """Size of all arrays, room to grow included."""
        return sum(array.nbytes for name, array in self.state._asdict().items() if name != "registers")

    def snapshot(self, *, copied: bool = True) -> dict[str, NDArray[Any]]:
        """The used rows; without copies they are good until the next step."""
        self.flush()
        s, header = self.state, self.header
        windows = int(header["windows_end"])
        used: dict[str, NDArray[Any]] = {
            "camp": self.campaigns_used(),
            "camp_heads": s.camp_heads[: self.campaigns],
            "series": self.series_used(),
            "series_heads": s.series_heads[: self.series],
            "counters": at.columns(s.counters)[:windows],
            "meta": at.columns(s.meta)[:windows],
            "free_windows": s.free_windows[: header["windows_free"]],
            "entries": s.entries[: 8 * header["blocks_end"]],
            "header": at.columns(s.header),
        }
        return {name: rows.copy() for name, rows in used.items()} if copied else used

    @classmethod
    def restore(cls, snapshot: dict[str, NDArray[Any]]) -> Arrays:
        """The arrays of a snapshot, with room to grow."""
        arrays = cls()
        types = {name: array.dtype for name, array in arrays.state._asdict().items()}
        snapshot = {name: fitted(kept, types[name]) for name, kept in snapshot.items()}
        arrays.campaigns, arrays.series = len(snapshot["camp"]), len(snapshot["series"])

        def roomy(name: str, least: int) -> Any:
            kept = snapshot[name]
            return _longer(kept, max(least, 1 << (len(kept) + len(kept) // 8).bit_length()))

        counters = roomy("counters", _ROWS_MIN)
        series = roomy("series", _ROWS_MIN)
        camp = roomy("camp", _ROWS_MIN)
        entries = roomy("entries", 8 * _BLOCKS_MIN)
        arrays.state = arrays.state._replace(
            camp=camp,
            camp_heads=_longer(snapshot["camp_heads"], len(camp)),
            series=series,
            series_heads=_longer(snapshot["series_heads"], len(series)),
            recent=np.full(2 * len(series), at.FREE, at.RECENT),
            counters=counters,
            meta=_longer(snapshot["meta"], len(counters)),
            free_windows=_longer(snapshot["free_windows"], len(counters)),
            entries=entries,
            registers=entries.view(np.uint8),
            header=snapshot["header"].copy(),
        )
        return arrays
