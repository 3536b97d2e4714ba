"""Which shard a row goes to: by event id for dedupe, by campaign for everything else."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.step import Step
from schemas.batch import EventBatch, SeriesColumns
from schemas.decode.kernel import kernel

# Between organisation and campaign in the hashed text; neither can hold it.
_SEPARATOR: Final = "\x1f"
_SEPARATOR_BYTE: Final = np.uint32(ord(_SEPARATOR))


def campaign_shard_of(org_id: str, campaign_id: str, shards: int) -> int:
    """The campaign shard of a campaign: CRC-32 modulo shards.

    >>> campaign_shard_of("default", "cmp-1", 1)
    0
    """
    return zlib.crc32(f"{org_id}{_SEPARATOR}{campaign_id}".encode()) % shards


def _crc_table() -> NDArray[np.uint32]:
    """What a byte does to a CRC-32, as in zlib."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> np.uint32(1) ^ np.uint32(0xEDB88320), table >> np.uint32(1))
    return table


_CRC: Final = _crc_table()


@kernel
def _checksums(
    organisations: NDArray[np.void], campaigns: NDArray[np.void], text: NDArray[np.uint8], out: NDArray[np.uint32]
) -> None:
    """CRC-32 of each campaign's organisation and id with the separator between."""
    for code in range(out.shape[0]):
        campaign = campaigns[code]
        owner = organisations[campaign.organisation]
        crc = np.uint32(0xFFFFFFFF)
        for at in range(owner.start, owner.start + owner.length):
            crc = _CRC[(crc ^ text[at]) & 0xFF] ^ (crc >> np.uint32(8))
        crc = _CRC[(crc ^ _SEPARATOR_BYTE) & 0xFF] ^ (crc >> np.uint32(8))
        for at in range(campaign.start, campaign.start + campaign.length):
            crc = _CRC[(crc ^ text[at]) & 0xFF] ^ (crc >> np.uint32(8))
        out[code] = crc ^ np.uint32(0xFFFFFFFF)


class CampaignRoutes:
    """Campaign shards of the rows of a batch; remembers those of the series it saw last, which may have grown."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self._series = SeriesColumns.empty()
        self._shard_of_campaign = np.empty(0, np.int64)

    def of(self, batch: EventBatch) -> NDArray[np.int64]:
        """The campaign shard of each row."""
        series = batch.series
        if series is not self._series:
            self._series, self._shard_of_campaign = series, np.empty(0, np.int64)
        known, campaigns = len(self._shard_of_campaign), int(series.marks[1])
        if known < campaigns:
            sums = np.empty(campaigns - known, np.uint32)
            _checksums(series.organisations, series.campaigns[known:campaigns], series.text, sums)
            added = (sums % np.uint32(self.shards)).astype(np.int64)
            self._shard_of_campaign = np.concatenate([self._shard_of_campaign, added])
        shard_of_row: NDArray[np.int64] = self._shard_of_campaign[series.campaign_of(batch.series_code)]
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
