"""The first keyed stage: drops events seen before, and splits what is left by campaign."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.dedupe import SeenIds
from flows.logic.routing import CampaignRoutes, campaign_shard_of, split_batch
from flows.logic.step import Step
from schemas.batch import EventBatch, SeriesColumns

__all__ = ["EventShard", "split_batch"]

# Organisations, and of each the ids of both generations.
Snapshot = tuple[list[str], list[tuple[NDArray[np.uint64], NDArray[np.uint64]]]]
# Organisations whose events have a memory of their own, some 50 KiB each at least; later ones share the last.
ORGANISATIONS_MAX: Final = 1_024


class _Organisations:
    """Numbers of organisations, in the order in which the shard met them."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._series = SeriesColumns.empty()
        self._of_code = np.empty(0, np.int32)

    def of(self, batch: EventBatch) -> NDArray[np.int32] | None:
        """The number of each row's organisation; None where all are of number 0."""
        series = batch.series
        if series is not self._series:
            self._series, self._of_code = series, np.empty(0, np.int32)
        if len(self._of_code) < len(series.organisations):
            more = np.full(len(series.organisations) - len(self._of_code), -1, np.int32)
            self._of_code = np.concatenate([self._of_code, more])
        if len(self.numbers) == 1 and self._is_one(series):
            return None
        codes = series.organisation_of(batch.series_code)
        numbers: NDArray[np.int32] = self._of_code[codes]
        if (numbers < 0).any():
            # In the order of rows, so that numbers depend neither on spans nor on other shards.
            unknown, first = np.unique(codes[numbers < 0], return_index=True)
            for code in unknown[np.argsort(first)].tolist():
                self._of_code[code] = self._number(series.org_id(code))
            numbers = self._of_code[codes]
        return numbers if len(self.numbers) > 1 else None

    def _is_one(self, series: SeriesColumns) -> bool:
        """Whether all rows are of the one organisation there is."""
        return bool(series.marks[2] == 1 and self._of_code[0] == 0)

    def _number(self, org_id: str) -> int:
        if org_id not in self.numbers and len(self.numbers) == ORGANISATIONS_MAX:
            return ORGANISATIONS_MAX - 1
        return self.numbers.setdefault(org_id, len(self.numbers))


class EventShard:
    """Shard `shard` of `shards` by event id. Among the events it is given, the first of an id wins."""

    def __init__(self, shard: int, shards: int, dedupe_ids: int) -> None:
        self.shard = shard
        self.shards = shards
        self._seen = SeenIds(dedupe_ids)
        self._organisations = _Organisations()
        self._routes = CampaignRoutes(shards)

    def step(self, step: Step) -> list[Step]:
        """One step for each campaign shard, in order, empty ones included.

        The positions of duplicates, and what decode found dead, go to the campaign shard with this shard's number.
        """
        batch, duplicates = self._without_duplicates(step.batch)
        duplicates = step.duplicates + duplicates
        if self.shards == 1:
            return [replace(step, batch=batch, duplicates=duplicates)]
        batches = self._by_campaign(batch)
        return [
            replace(
                step,
                part=self.shard,
                parts=self.shards,
                batch=batches[target],
                control=[r for r in step.control if campaign_shard_of(r.org_id, r.campaign_id, self.shards) == target],
                duplicates=duplicates if target == self.shard else [],
                dead=step.dead if target == self.shard else [],
            )
            for target in range(self.shards)
        ]

    def _without_duplicates(self, batch: EventBatch | None) -> tuple[EventBatch | None, list[int]]:
        if batch is None or len(batch) == 0:
            return batch, []
        new = self._seen.mark_new(batch.id_hi, batch.id_lo, self._organisations.of(batch))
        if new.all():
            return batch, []
        return batch.take(new), batch.position[~new].tolist()

    def _by_campaign(self, batch: EventBatch | None) -> list[EventBatch | None]:
        if batch is None or len(batch) == 0:
            return [None] * self.shards
        row_shard = self._routes.of(batch)
        return [batch.take(np.flatnonzero(row_shard == target)) for target in range(self.shards)]

    def snapshot(self) -> Snapshot:
        """What it remembers: ids in order of arrival."""
        return list(self._organisations.numbers), self._seen.snapshot()

    @classmethod
    def restore(cls, snapshot: Snapshot, shard: int, shards: int, dedupe_ids: int) -> EventShard:
        """The shard as it was when the snapshot was taken."""
        restored = cls(shard, shards, dedupe_ids)
        organisations, seen = snapshot
        restored._organisations.numbers = {org_id: number for number, org_id in enumerate(organisations)}
        restored._seen = SeenIds.restore(seen, dedupe_ids)
        return restored
