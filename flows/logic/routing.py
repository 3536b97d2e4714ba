"""Which shard a row goes to: by event id for dedupe, by campaign for everything else."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.step import Step
from schemas.batch import EventBatch, SeriesKey

# Between organisation and campaign in the hashed text; neither can hold it.
_SEPARATOR: Final = "\x1f"


def campaign_shard_of(org_id: str, campaign_id: str, shards: int) -> int:
    """The campaign shard of a campaign: CRC-32 modulo shards.

    >>> campaign_shard_of("default", "cmp-1", 1)
    0
    """
    return zlib.crc32(f"{org_id}{_SEPARATOR}{campaign_id}".encode()) % shards


class CampaignRoutes:
    """Campaign shards of the rows of a batch; remembers the list of series it saw last, which may have grown."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self._series: list[SeriesKey] = []
        self._shard_of_code = np.empty(0, np.int64)

    def of(self, batch: EventBatch) -> NDArray[np.int64]:
        """The campaign shard of each row."""
        if batch.series is not self._series:
            self._series, self._shard_of_code = batch.series, np.empty(0, np.int64)
        known = len(self._shard_of_code)
        if known < len(self._series):
            added = [campaign_shard_of(k.org_id, k.campaign_id, self.shards) for k in self._series[known:]]
            self._shard_of_code = np.concatenate([self._shard_of_code, np.array(added, np.int64)])
        shard_of_row: NDArray[np.int64] = self._shard_of_code[batch.series_code]
        return shard_of_row


def split_batch(step: Step, shards: int) -> list[Step]:
    """One step for each event shard, its rows chosen by `id_lo` modulo shards; control and dead go with the first.

    With one shard the step itself, nothing copied.
    """
    if shards == 1:
        return [step]
    batch = step.batch
    row_shard = None if batch is None else (batch.id_lo % np.uint64(shards)).astype(np.int64)
    return [
        replace(
            step,
            part=shard,
            parts=shards,
            control=step.control if shard == 0 else [],
            dead=step.dead if shard == 0 else [],
            duplicates=step.duplicates if shard == 0 else [],
            batch=None if batch is None or row_shard is None else batch.take(np.flatnonzero(row_shard == shard)),
        )
        for shard in range(shards)
    ]
