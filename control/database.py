"""The control database: SQLite in a file, or PostgreSQL by URL, behind the same few calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

# A writer waits this long for another process's write before it gives up.
BUSY_MS: Final = 10_000
# One change at a time over all processes: outbox ids then rise in the order in which changes were made.
_WRITE_LOCK: Final = 7_362_014_552


def database_url(url: str, data_dir: Path) -> str:
    """The SQLAlchemy URL: `url`, PostgreSQL with driver psycopg; empty means SQLite in `data_dir`.

    >>> database_url("postgres://u@h/db", Path("."))
    'postgresql+psycopg://u@h/db'
    >>> database_url("", Path("/srv/penstock"))
    'sqlite:////srv/penstock/control.db'
    """
    if not url:
        return f"sqlite:///{data_dir / 'control.db'}"
    scheme, colon, rest = url.partition("://")
    return f"postgresql+psycopg{colon}{rest}" if scheme in ("postgres", "postgresql") else url


def open_database(url: str) -> Engine:
    """An engine for the URL; makes the folder of a SQLite file. Nothing is connected yet."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return create_engine(address, pool_pre_ping=True)
    if address.database and address.database != ":memory:":
        file = Path(address.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Its owner's alone; SQLite gives the files beside it the same mode, and says it better when it cannot write.
        with suppress(OSError):
            file.touch(mode=0o600, exist_ok=True)
            file.chmod(0o600)
    engine = create_engine(address)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transactions would begin late, at the first write, and fail where two processes meet.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("penstock_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def writing(engine: Engine, lock: int = _WRITE_LOCK) -> Iterator[Connection]:
    """A transaction that no other `writing` of the same lock runs beside, in whatever process; commits at the end.

    On SQLite every writer excludes every other, whatever its lock.
    """
    with engine.connect() as connection:
        connection = connection.execution_options(penstock_writing=True)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock})
            yield connection
