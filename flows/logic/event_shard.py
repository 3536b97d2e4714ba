"""The first keyed stage: drops events seen before, and splits what is left by campaign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flows.logic.dedupe import SeenIds
from flows.logic.routing import CampaignRoutes, campaign_shard_of, split_batch
from flows.logic.step import Step
from schemas.batch import EventBatch

__all__ = ["EventShard", "split_batch"]

Snapshot = tuple[NDArray[np.uint64], NDArray[np.uint64]]


class EventShard:
    """Shard `shard` of `shards` by event id. Among the events it is given, the first of an id wins."""

    def __init__(self, shard: int, shards: int, dedupe_ids: int) -> None:
        self.shard = shard
        self.shards = shards
        self._seen = SeenIds(dedupe_ids)
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
        new = self._seen.mark_new(batch.id_hi, batch.id_lo)
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
        return self._seen.snapshot()

    @classmethod
    def restore(cls, snapshot: Snapshot, shard: int, shards: int, dedupe_ids: int) -> EventShard:
        """The shard as it was when the snapshot was taken."""
        restored = cls(shard, shards, dedupe_ids)
        restored._seen = SeenIds.restore(snapshot, dedupe_ids)
        return restored
