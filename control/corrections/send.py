"""Corrections into the log."""

from __future__ import annotations

from collections.abc import Iterable

from schemas import topics
from schemas.corrections import Correction, encode_correction
from schemas.log import Log


def send(log: Log, corrections: Iterable[Correction]) -> None:
    """Append each to its campaign's home partition, durably. Raises LogUnavailableError; safe to do again."""
    partitions = log.partitions(topics.CORRECTIONS)
    homes: dict[int, list[Correction]] = {}
    for correction in corrections:
        homes.setdefault(topics.partition_of(correction.campaign_id, partitions), []).append(correction)
    for partition, some in homes.items():
        keys = [correction.campaign_id for correction in some]
        log.append(topics.CORRECTIONS, partition, [*map(encode_correction, some)], keys=keys)
