"""Arrow tables into ClickHouse."""

from __future__ import annotations

import time
from typing import Final

import pyarrow as pa

from storage import metrics
from storage.client import Client

_SETTINGS: Final = {
    # Acknowledged means on disk, as one part, not in a buffer.
    "async_insert": 0,
    # Rows of a key are put together by merges and by FINAL; doing it in the insert too costs more than it saves.
    "optimize_on_insert": 0,
    # Event times may lie years apart; each month is a partition.
    "max_partitions_per_insert_block": 0,
    # One block, one part.
    "max_insert_block_size": 4_194_304,
    "min_insert_block_size_rows": 4_194_304,
    "min_insert_block_size_bytes": 0,
}


def insert(client: Client, name: str, table: pa.Table) -> int:
    """Insert the rows; returns how many once ClickHouse has them on disk. Raises the client's exceptions."""
    if table.num_rows == 0:
        return 0
    began = time.perf_counter()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    block = sink.getvalue().to_pybytes()
    client.raw_insert(name, column_names=table.column_names, insert_block=block, fmt="ArrowStream", settings=_SETTINGS)
    metrics.INSERT_SECONDS.labels(name).observe(time.perf_counter() - began)
    metrics.ROWS.labels(name).inc(table.num_rows)
    return int(table.num_rows)
