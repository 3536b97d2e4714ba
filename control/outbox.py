"""The outbox: records of topic `control` that were committed with a change and still have to reach the log.

A record is appended before it is marked, so a crash between the two appends it again: harmless, since the last record
of a key wins and a version says which is newer. One publisher works at a time, so the order of records is the order of
changes.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, Row, delete, insert, select, text, update

from control.database import writing
from control.tables import outbox
from schemas import topics
from schemas.control import ControlRecord, encode_control
from schemas.log import Log

# Records in one append.
BATCH: Final = 500
# Published records kept for whoever wants to look; the log has them all.
KEPT: Final = 10_000
_PUBLISH_LOCK: Final = 7_362_014_553


def enqueue(connection: Connection, record: ControlRecord) -> None:
    """Put a record into the outbox, in the transaction of the change it tells of."""
    connection.execute(insert(outbox).values(record_key=record.key, record=encode_control(record), published=0))


def publish(engine: Engine, log: Log) -> int:
    """Append what is unpublished to topic `control`, oldest first; returns how many records that were.

    Raises LogUnavailableError: what was not appended stays for the next call.
    """
    if not _unpublished(engine, 1):
        return 0
    published = 0
    with _only_publisher(engine):
        while rows := _unpublished(engine, BATCH):
            log.append(topics.CONTROL, 0, [row.record for row in rows], keys=[row.record_key for row in rows])
            _mark(engine, [row.id for row in rows])
            published += len(rows)
    return published


def _unpublished(engine: Engine, limit: int) -> list[Row[tuple[int, str, bytes]]]:
    query = select(outbox.c.id, outbox.c.record_key, outbox.c.record)
    with engine.connect() as connection:
        return list(connection.execute(query.where(outbox.c.published == 0).order_by(outbox.c.id).limit(limit)))


def _mark(engine: Engine, ids: list[int]) -> None:
    with writing(engine) as connection:
        connection.execute(update(outbox).where(outbox.c.id.in_(ids)).values(published=1))
        connection.execute(delete(outbox).where(outbox.c.published == 1, outbox.c.id < ids[-1] - KEPT))


@contextmanager
def _only_publisher(engine: Engine) -> Iterator[None]:
    """Hold what every publisher of this database holds, while people's changes still go on."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PUBLISH_LOCK})
            yield
        return
    # SQLite knows one lock only, which would stop changes while the log is slow; a file beside it does not.
    with Path(f"{engine.url.database}.publish").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
