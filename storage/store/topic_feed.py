"""A topic whose records become rows one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from schemas import topics
from schemas.log import Chunk, Log
from storage.client import Client
from storage.store.feed import CHUNK_BYTES, Tail
from storage.store.fingerprint import SHAPES
from storage.store.tables import campaign_table, correction_table, dead_letter_table, decision_table, kpi_table
from storage.store.verify import Place, write

# Topic, table, and how records become rows.
TOPICS: Final = (
    (topics.KPIS, "kpi_windows", kpi_table),
    (topics.DECISIONS, "decisions", decision_table),
    (topics.DEAD_LETTERS, "dead_letters", dead_letter_table),
    (topics.CONTROL, "campaigns", campaign_table),
    (topics.CORRECTIONS_APPLIED, "corrections", correction_table),
)


class TopicFeed:
    """A single-partition topic into one table: read, insert, verify, commit, in this order."""

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
        table, place = topic_rows(self._rows, chunk)
        write(client, SHAPES[self._table], table, place)
        self._stored(client, table)
        self._tail.commit(chunk.next_offset)
        self._tail.position = chunk.next_offset
        return len(chunk.payload) > CHUNK_BYTES // 2

    def lag_records(self) -> int:
        """About how many records are not stored."""
        return self._tail.lag_records()

    def _stored(self, client: Client, table: pa.Table) -> None:
        """What is to be done once the rows are stored and before they count as such."""


def topic_rows(rows: Callable[[Sequence[bytes]], pa.Table], chunk: Chunk) -> tuple[pa.Table, Place]:
    """The rows of a chunk, and where they come from."""
    table = rows(chunk.records())
    offsets = pa.array(np.full(table.num_rows, chunk.first_offset, np.int64))
    return table.append_column("log_offset", offsets), Place(chunk.first_offset, chunk.next_offset)
