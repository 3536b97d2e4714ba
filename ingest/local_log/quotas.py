"""How much of the disk each topic may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas import topics

# Hundredths of the whole, near to what the topics take when compressed at 2,000 events/s, so that all reach equally
# far back; the rest is for topics that take little but must not be pushed out, or not push others out (dead letters).
SHARES: Final = {
    topics.EVENTS: 50,
    topics.KPIS: 27,
    topics.VERDICTS: 6,
    topics.ORDER: 3,
    topics.DECISIONS: 5,
    topics.RECEIPTS: 2,
    topics.DEAD_LETTERS: 7,
}


def quotas_of(total_bytes: int, own: Mapping[str, int]) -> dict[str, int]:
    """Bytes on disk for each topic that has a quota: its share of the total, or what `own` says.

    >>> quotas_of(1_000, {"kpis": 77})["events"], quotas_of(1_000, {"kpis": 77})["kpis"]
    (500, 77)

    Raises ValueError for a topic that has no quota.
    """
    unknown = sorted(set(own) - set(SHARES))
    if unknown:
        raise ValueError(f"PENSTOCK_LOG_QUOTAS names {', '.join(unknown)}; quotas are for {', '.join(SHARES)}")
    return {topic: own.get(topic, total_bytes * share // 100) for topic, share in SHARES.items()}
