"""A topic whose records become rows one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from schemas import topics
from schemas.log import Log
from storage.client import Client
from storage.insert import insert
from storage.store.feed import CHUNK_BYTES, Tail
from storage.store.tables import campaign_table, dead_letter_table, decision_table, kpi_table


class TopicFeed:
    """A single-partition topic into one table: read, insert, commit, in this order."""

    def __init__(self, log: Log, topic: str, table: str, rows: Callable[[Sequence[bytes]], pa.Table]) -> None:
        self.name = table
        self._rows = rows
        self._table = table
        self._tail = Tail(log, topic, 0)

    def step(self, client: Client) -> bool:
        """Move one chunk; True when it was a full one."""
        chunk = self._tail.read(CHUNK_BYTES)
        if chunk is None:
            return False
        insert(client, self._table, self._rows(chunk.records()))
        self._tail.commit(chunk.next_offset)
        self._tail.position = chunk.next_offset
        return len(chunk.payload) > CHUNK_BYTES // 2

    def lag_records(self) -> int:
        """About how many records are not stored."""
        return self._tail.lag_records()


def topic_feeds(log: Log) -> list[TopicFeed]:
    """KPI windows, decisions, dead letters and campaign definitions."""
    return [
        TopicFeed(log, topics.KPIS, "kpi_windows", kpi_table),
        TopicFeed(log, topics.DECISIONS, "decisions", decision_table),
        TopicFeed(log, topics.DEAD_LETTERS, "dead_letters", dead_letter_table),
        TopicFeed(log, topics.CONTROL, "campaigns", campaign_table),
    ]
