"""Which log a database is filled from, and since when."""

from __future__ import annotations

from typing import Final

from storage.client import Client

_NEWEST: Final = "SELECT identity, toUnixTimestamp64Milli(since) FROM stored_logs ORDER BY since DESC LIMIT 1"


def stored_since_ms(client: Client, identity: str) -> int:
    """Since when (ms, by ClickHouse's clock) rows come from this log and no other; noted when it is another now.

    A row stored before may come from another log: its place there says nothing about this one. Raises the client's
    exceptions.
    """
    found = client.query(_NEWEST).result_rows
    if not found or found[0][0] != identity:
        client.insert("stored_logs", [[identity]], column_names=["identity"])
        found = client.query(_NEWEST).result_rows
    return int(found[0][1])
