"""The state arrays: what a row holds is said once, and compiled code and Python mean the same by a name."""

from __future__ import annotations

import numpy as np
import pytest

from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from flows.logic.windows.layout import Int, State
from flows.logic.windows.unowned import unowned_state
from schemas.decode.kernel import kernel

ROWS = {
    at.CampaignRow: at.CAMPAIGN,
    at.SeriesRow: at.SERIES_ROW,
    at.WindowCounters: at.WINDOW_COUNTERS,
    at.WindowMeta: at.WINDOW_META,
    at.Group: at.GROUP,
    at.Recent: at.RECENT,
    at.Header: at.HEADER,
}


@pytest.mark.parametrize(("row", "dtype"), ROWS.items(), ids=[row.__name__ for row in ROWS])
def test_a_record_has_the_fields_of_its_class(row: type, dtype: np.dtype[np.void]) -> None:
    named = {name for each in row.__mro__ for name in getattr(each, "__annotations__", ())}
    assert set(dtype.names or ()) == named


@pytest.mark.parametrize("dtype", [at.WINDOW_COUNTERS, at.WINDOW_META, at.GROUP], ids=["counters", "meta", "group"])
def test_what_is_touched_for_every_event_fills_one_cache_line(dtype: np.dtype[np.void]) -> None:
    assert dtype.itemsize == 64


@kernel
def _spend(s: State, slot: Int, cost: Int) -> None:
    s = unowned_state(s)
    s.camp[slot].spent_day += cost
    s.header[0].blocks_free[3] = cost


def test_what_a_kernel_writes_by_name_python_reads_by_the_same_name() -> None:
    arrays = Arrays()
    arrays.add_campaign(0)
    row = arrays.add_campaign(1)
    row["spent_day"] = 40
    _spend(arrays.state, 1, 2)
    assert arrays.campaigns_used()["spent_day"].tolist() == [0, 42]
    assert arrays.header["blocks_free"].tolist() == [0, 0, 0, 2, 0, 0, 0, 0]


def test_a_row_is_in_the_snapshot_with_its_names() -> None:
    arrays = Arrays()
    arrays.add_campaign(0)["budget_day"] = 7
    kept = arrays.snapshot()
    assert kept["camp"]["budget_day"].tolist() == [7]
    assert Arrays.restore(kept).campaign(0)["budget_day"] == 7
