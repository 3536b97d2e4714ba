"""The tables: made and changed by numbered SQL files, the same on ClickHouse and on chDB."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

from storage.client import Client, connect, database_of

_MIGRATIONS: Final = resources.files(__package__) / "migrations"
_STATEMENT_END: Final = re.compile(r";\s*\n")
_VIEW: Final = re.compile(r"CREATE OR REPLACE VIEW (\w+)")
# Which tables expire, and by which of the two settings.
_RAW: Final = ("events", "dead_letters")
_WINDOWS: Final = ("kpi_windows",)
_EXPIRY: Final = {
    "events": "toDateTime(stored_at)",
    "dead_letters": "toDateTime(stored_at)",
    "kpi_windows": "stored_at",
}


def statements(sql: str) -> list[str]:
    """The statements of a file; each ends with a semicolon at the end of a line.

    >>> statements("-- why\\nSELECT 1;\\nSELECT 2;\\n")
    ['SELECT 1', 'SELECT 2']
    """
    without_comments = re.sub(r"^\s*--.*\n", "", sql, flags=re.MULTILINE)
    return [text.strip() for text in _STATEMENT_END.split(without_comments + "\n") if text.strip()]


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) of every migration, in order."""
    files = sorted(path.name for path in _MIGRATIONS.iterdir() if path.name.endswith(".sql"))
    return [(int(name.split("_")[0]), (_MIGRATIONS / name).read_text()) for name in files]


def views() -> list[str]:
    """The statement that makes each view as it is now, those first that others read."""
    newest: dict[str, str] = {}
    for _, sql in migrations():
        for statement in statements(sql):
            if (found := _VIEW.match(statement)) is not None:
                newest[found[1]] = statement
    return list(newest.values())


def migrate(client: Client) -> list[int]:
    """Bring the client's database to the newest version; returns the versions applied now.

    Every statement may run twice: a migration that was cut off, or that two processes make at once, ends the same.
    """
    client.command(
        "CREATE TABLE IF NOT EXISTS schema_versions (version UInt32, applied_at DateTime('UTC') DEFAULT now())"
        " ENGINE = ReplacingMergeTree ORDER BY version"
    )
    done = {row[0] for row in client.query("SELECT version FROM schema_versions").result_rows}
    wanted = [(version, sql) for version, sql in migrations() if version not in done]
    for version, sql in wanted:
        tables = [statement for statement in statements(sql) if _VIEW.match(statement) is None]
        # Views come last, and all of them: a view keeps the types that its tables had when it was made.
        for statement in tables + (views() if version == wanted[-1][0] else []):
            client.command(statement)
        client.insert("schema_versions", [[version]], column_names=["version"])
    return [version for version, _ in wanted]


def set_expiry(client: Client, *, raw_ttl_days: int, window_ttl_days: int) -> list[str]:
    """Make the tables keep rows for so many days from when they were stored; returns the tables changed now."""
    changed = []
    wanted = dict.fromkeys(_RAW, raw_ttl_days) | dict.fromkeys(_WINDOWS, window_ttl_days)
    engines = dict(
        client.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()").result_rows
    )
    for table, days in wanted.items():
        if f"toIntervalDay({days})" not in engines.get(table, ""):
            client.command(f"ALTER TABLE {table} MODIFY TTL {_EXPIRY[table]} + toIntervalDay({days})")
            changed.append(table)
    return changed


def prepare(url: str, *, raw_ttl_days: int, window_ttl_days: int) -> Client:
    """A client on a database that has every table and view; the database is made when it is not there."""
    name = database_of(url)
    with connect(url, database="") as server:
        server.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")
    client = connect(url)
    migrate(client)
    set_expiry(client, raw_ttl_days=raw_ttl_days, window_ttl_days=window_ttl_days)
    return client
