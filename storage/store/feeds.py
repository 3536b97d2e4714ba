"""All topics whose records become rows one by one."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.log import Log
from storage.store.correction_feed import CorrectionFeed
from storage.store.kpi_feed import KpiFeed
from storage.store.topic_feed import TOPICS, TopicFeed


def topic_feeds(log: Log, *, raw_ttl_days: int, clock: Callable[[], float] = time.monotonic) -> list[TopicFeed]:
    """KPI windows, decisions, dead letters, campaign definitions and corrections."""
    others = [TopicFeed(log, *topic) for topic in TOPICS[1:-1]]
    windows = KpiFeed(log, raw_ttl_days=raw_ttl_days, clock=clock)
    return [windows, *others, CorrectionFeed(log, raw_ttl_days=raw_ttl_days, clock=clock)]
