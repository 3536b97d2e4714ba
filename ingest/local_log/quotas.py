"""How much of the disk each topic may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas import topics

# Hundredths of the whole. At 2,000 events/s events take 66 KB/s once compressed, kpis 36 KB/s and all others less than
# 1 KB/s (measured over 100 s of `penstock bench generate`'s events), so events and kpis reach equally far back. The
# others have room for floods, above all dead letters.
SHARES: Final = {
    topics.EVENTS: 58,
    topics.KPIS: 32,
    topics.DEAD_LETTERS: 2,
    topics.VERDICTS: 2,
    topics.DECISIONS: 2,
    topics.ORDER: 1,
    topics.RECEIPTS: 1,
    topics.CORRECTIONS: 1,
    topics.CORRECTIONS_APPLIED: 1,
}


def quotas_of(total_bytes: int, own: Mapping[str, int]) -> dict[str, int]:
    """Bytes on disk for each topic that has a quota: its share of the total, or what `own` says.

    >>> quotas_of(1_000, {"kpis": 77})["events"], quotas_of(1_000, {"kpis": 77})["kpis"]
    (580, 77)

    Raises ValueError for a topic that has no quota.
    """
    unknown = sorted(set(own) - set(SHARES))
    if unknown:
        raise ValueError(f"PENSTOCK_LOG_QUOTAS names {', '.join(unknown)}; quotas are for {', '.join(SHARES)}")
    return {topic: own.get(topic, total_bytes * share // 100) for topic, share in SHARES.items()}
