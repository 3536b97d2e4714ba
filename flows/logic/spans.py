"""Spans put together again from the parts that came through several event shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.logic.step import Step
from schemas.batch import EventBatch, SeriesColumns
from schemas.control import ControlRecord


@dataclass(slots=True)
class Span:
    """A whole span: its rows in log order."""

    partition: int
    first_offset: int
    next_offset: int
    now_ms: int
    read_ms: int
    tick: bool
    control: list[ControlRecord]
    batch: EventBatch | None
    duplicates: list[int]
    dead: list[int]

    @classmethod
    def of(cls, parts: list[Step]) -> Span:
        """The span of parts whose rows are dealt with apart: the batch is the first part's."""
        first = parts[0]
        return cls(
            partition=first.partition,
            first_offset=first.first_offset,
            next_offset=first.next_offset,
            now_ms=first.now_ms,
            read_ms=first.read_ms,
            tick=first.tick,
            control=[record for part in parts for record in part.control],
            batch=first.batch,
            duplicates=sorted(position for part in parts for position in part.duplicates),
            dead=sorted(position for part in parts for position in part.dead),
        )


def merge_parts(parts: list[Step]) -> Span:
    """The span of all its parts, rows sorted by position."""
    offsets = {(part.partition, part.first_offset, part.next_offset, part.tick) for part in parts}
    assert len(offsets) == 1, f"parts of different spans came together: {offsets}"
    span = Span.of(parts)
    span.batch = _merged([part.batch for part in parts if part.batch is not None and len(part.batch) > 0])
    return span


def _merged(batches: list[EventBatch]) -> EventBatch | None:
    if len(batches) <= 1:
        return batches[0] if batches else None
    series, codes = _one_series(batches)
    joined = EventBatch(
        position=np.concatenate([b.position for b in batches]),
        type=np.concatenate([b.type for b in batches]),
        ts_ms=np.concatenate([b.ts_ms for b in batches]),
        cost_micros=np.concatenate([b.cost_micros for b in batches]),
        revenue_micros=np.concatenate([b.revenue_micros for b in batches]),
        id_hi=np.concatenate([b.id_hi for b in batches]),
        id_lo=np.concatenate([b.id_lo for b in batches]),
        actor=np.concatenate([b.actor for b in batches]),
        series_code=codes,
        series=series,
    )
    return joined.take(np.argsort(joined.position, kind="stable"))


def _one_series(batches: list[EventBatch]) -> tuple[SeriesColumns, NDArray[np.int32]]:
    """The series of all batches in one, and the rows' codes in it; parts of one process share theirs."""
    first = batches[0].series
    if all(batch.series is first for batch in batches):
        return first, np.concatenate([b.series_code for b in batches])
    sizes = np.array([len(batch.series) for batch in batches])
    before = (np.cumsum(sizes) - sizes).astype(np.int32)
    codes = [batch.series_code + first for batch, first in zip(batches, before, strict=True)]
    return SeriesColumns.joined([batch.series for batch in batches]), np.concatenate(codes)
