"""Which shard and which home partition a row's campaign has."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.step import Step
from schemas.batch import EventBatch, SeriesColumns
from schemas.decode.kernel import inlined, kernel

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
_ALL: Final = np.uint32(0xFFFFFFFF)


@inlined
def _checksum(text: NDArray[np.uint8], start: int, length: int, crc: np.uint32) -> np.uint32:
    for at in range(start, start + length):
        crc = _CRC[(crc ^ text[at]) & 0xFF] ^ (crc >> np.uint32(8))
    return crc


@kernel
def _checksums(
    organisations: NDArray[np.void],
    campaigns: NDArray[np.void],
    text: NDArray[np.uint8],
    with_organisation: bool,
    out: NDArray[np.uint32],
) -> None:
    """CRC-32 of each campaign's id, or of its organisation and its id with the separator between."""
    for code in range(out.shape[0]):
        campaign = campaigns[code]
        crc = _ALL
        if with_organisation:
            owner = organisations[campaign.organisation]
            crc = _checksum(text, owner.start, owner.length, crc)
            crc = _CRC[(crc ^ _SEPARATOR_BYTE) & 0xFF] ^ (crc >> np.uint32(8))
        out[code] = _checksum(text, campaign.start, campaign.length, crc) ^ _ALL


class _ByCampaign:
    """A number of each row's campaign; remembers those of the series it saw last, which may have grown."""

    def __init__(self, numbers: int, *, with_organisation: bool) -> None:
        self._numbers = numbers
        self._with_organisation = with_organisation
        self._series = SeriesColumns.empty()
        self._of_campaign = np.empty(0, np.int64)

    def of(self, batch: EventBatch) -> NDArray[np.int64]:
        """The number of each row."""
        series = batch.series
        if series is not self._series:
            self._series, self._of_campaign = series, np.empty(0, np.int64)
        known, campaigns = len(self._of_campaign), int(series.marks[1])
        if known < campaigns:
            sums = np.empty(campaigns - known, np.uint32)
            news = series.campaigns[known:campaigns]
            _checksums(series.organisations, news, series.text, self._with_organisation, sums)
            added = (sums % np.uint32(self._numbers)).astype(np.int64)
            self._of_campaign = np.concatenate([self._of_campaign, added])
        of_row: NDArray[np.int64] = self._of_campaign[series.campaign_of(batch.series_code)]
        return of_row


class Homes(_ByCampaign):
    """The home partition of each row: where events of its campaign come in, by `schemas.topics.partition_of`."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions, with_organisation=False)


class CampaignRoutes(_ByCampaign):
    """The campaign shard of each row, by `campaign_shard_of`."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards, with_organisation=True)
        self.shards = shards

    def split(self, step: Step) -> list[Step]:
        """One step for each campaign shard, in order, empty ones included; what decode found dead goes with the first.

        With one shard the step itself, nothing copied.
        """
        if self.shards == 1:
            return [step]
        batches = self._batches(step.batch)
        return [
            replace(
                step,
                batch=batches[shard],
                control=[r for r in step.control if campaign_shard_of(r.org_id, r.campaign_id, self.shards) == shard],
                corrections=[
                    c for c in step.corrections if campaign_shard_of(c.org_id, c.campaign_id, self.shards) == shard
                ],
                dead=step.dead if shard == 0 else [],
            )
            for shard in range(self.shards)
        ]

    def _batches(self, batch: EventBatch | None) -> list[EventBatch | None]:
        if batch is None or len(batch) == 0:
            return [None] * self.shards
        row_shard = self.of(batch)
        return [batch.take(np.flatnonzero(row_shard == shard)) for shard in range(self.shards)]
