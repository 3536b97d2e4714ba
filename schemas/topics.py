"""Names of the log's topics, and which partition a key belongs to."""

from __future__ import annotations

import zlib
from typing import Final

# Impressions, clicks, conversions and leads as they were sent. Partitioned by campaign_id.
EVENTS: Final = "events"
# What was refused, with its raw bytes, reason and source position.
DEAD_LETTERS: Final = "events.dlq"
# For each partition of `events`: which control records and clock ticks fell where between the events.
# It makes a replay take every decision at the same place. Same number of partitions as `events`.
ORDER: Final = "events.order"
# Campaign definitions and people's overrides; compacted, the last record of a key wins.
CONTROL: Final = "control"
# Pause, resume, bid, budget and modifier changes.
DECISIONS: Final = "decisions"
# What bidders are served, the newest word on each campaign; compacted, the last record of a key wins.
SERVING: Final = "serving"
# KPI windows, columnar: one record is a batch of windows.
KPIS: Final = "kpis"
# For each span of `events`: which records were duplicates or late. The store joins it with `events`.
VERDICTS: Final = "verdicts"
# Live rows for browsers; kept short, written without fsync.
LIVE: Final = "live"
# What ad platforms answered to decisions.
RECEIPTS: Final = "receipts"
# Changes of what was counted: duplicates found late, refunds, invoices, notes. Partitioned by campaign_id, like events.
CORRECTIONS: Final = "corrections"
# Those that came into force, once each, as the flow says it.
CORRECTIONS_APPLIED: Final = "corrections.applied"

PARTITIONED_LIKE_EVENTS: Final = (EVENTS, ORDER, CORRECTIONS)
SINGLE_PARTITION: Final = (
    DEAD_LETTERS, CONTROL, DECISIONS, SERVING, KPIS, VERDICTS, LIVE, RECEIPTS, CORRECTIONS_APPLIED
)  # fmt: skip
# On Kafka their records need keys.
COMPACTED: Final = (CONTROL, SERVING)
ALL: Final = PARTITIONED_LIKE_EVENTS + SINGLE_PARTITION
# Days that these are kept at least, where there is room: few and small records, and money. What is corrected today may
# be asked about when the platform's next invoices are here.
KEPT_DAYS_MIN: Final = {CORRECTIONS: 90, CORRECTIONS_APPLIED: 90}


def retention_of(topic: str, retention_ms: int) -> int:
    """How long a topic's records are kept, in ms, where others are kept for `retention_ms`.

    >>> retention_of("events", 1), retention_of("corrections", 1)
    (1, 7776000000)
    """
    return max(retention_ms, KEPT_DAYS_MIN.get(topic, 0) * 86_400_000)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 modulo partitions, as librdkafka's `consistent` partitioner has it.

    A producer of any language that keys its messages by campaign_id with that partitioner agrees with the collector.

    >>> partition_of("cmp-1", 1)
    0
    >>> partition_of("cmp-1", 4)
    3
    """
    return zlib.crc32(key.encode()) % partitions
