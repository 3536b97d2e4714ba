"""Events of the log as rows of table `events`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.decode import TableColumns, TextColumn, decode_table
from schemas.events import TS_MS_MAX
from schemas.log import Chunk
from storage.store.spans import Decided
from storage.store.tables import MILLIS


def _array(column: TextColumn) -> pa.Array:
    rows = len(column.offsets) - 1
    return pa.StringArray.from_buffers(rows, pa.py_buffer(column.offsets), pa.py_buffer(column.content))


def _among(positions: NDArray[np.int64], chosen: frozenset[int]) -> NDArray[np.bool_]:
    if not chosen:
        return np.zeros(len(positions), np.bool_)
    return np.isin(positions, np.fromiter(chosen, np.int64, len(chosen)))


def _table(columns: TableColumns, late: NDArray[np.bool_], partition: int) -> pa.Table:
    arrays = {
        "type": pa.array(columns.type.astype(np.int8)),
        "ts": pa.array(columns.ts_ms).cast(MILLIS),
        "cost_micros": pa.array(columns.cost_micros),
        "revenue_micros": pa.array(columns.revenue_micros),
        "late": pa.array(late.astype(np.uint8)),
        "log_partition": pa.array(np.full(len(columns), partition, np.uint16)),
        "log_offset": pa.array(columns.position),
        "lead": _array(columns.lead),
        "extra": _array(columns.extra),
    }
    return pa.table(arrays | {name: _array(column) for name, column in columns.texts.items()})


def event_table(chunk: Chunk, decided: Decided) -> pa.Table:
    """The chunk's events that were decided on and count: without duplicates, dead letters and what comes after.

    The dataflow has refused what lay in the future of its clock, and says so; here no clock is asked again.
    """
    columns = decode_table(chunk, now_ms=TS_MS_MAX)
    positions = columns.position
    inside = (positions >= decided.first_offset) & (positions < decided.next_offset)
    kept = inside & ~_among(positions, decided.refused)
    table = _table(columns, _among(positions, decided.late), chunk.partition)
    return table if kept.all() else table.filter(pa.array(kept))


def late_moments(table: pa.Table) -> list[tuple[str, str, int]]:
    """(org_id, campaign_id, ts_ms) of the late events that belong to a campaign."""
    rows = table.filter(pc.equal(table["late"], 1))
    names = rows["org_id"].to_pylist(), rows["campaign_id"].to_pylist()
    moments = zip(*names, rows["ts"].cast(pa.int64()).to_pylist(), strict=True)
    return [moment for moment in moments if moment[1]]


def campaign_moments(table: pa.Table, moment: str = "ts") -> dict[tuple[str, str], set[int]]:
    """Times (ms) by campaign, of the rows (events, corrections, windows) that belong to one."""
    found: dict[tuple[str, str], set[int]] = {}
    names = table["org_id"].to_pylist(), table["campaign_id"].to_pylist()
    for org_id, campaign_id, ts_ms in zip(*names, table[moment].cast(pa.int64()).to_pylist(), strict=True):
        if campaign_id:
            found.setdefault((org_id, campaign_id), set()).add(ts_ms)
    return found
