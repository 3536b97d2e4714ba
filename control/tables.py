"""The control plane's tables, as SQLAlchemy Core; `control/migrations` makes them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    insert,
)

from schemas.control import ControlRecord

metadata: Final = MetaData()

# SQLite counts up by itself only in a column of exactly type INTEGER.
_SERIAL: Final = BigInteger().with_variant(Integer, "sqlite")

# What is in force: one row a campaign, `definition` being schemas.campaigns.Campaign as JSON.
campaigns: Final = Table(
    "campaigns",
    metadata,
    Column("org_id", String(128), primary_key=True),
    Column("campaign_id", String(128), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("definition", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

# The audit: every version of every campaign; `before` is NULL in the first.
campaign_changes: Final = Table(
    "campaign_changes",
    metadata,
    Column("org_id", String(128), primary_key=True),
    Column("campaign_id", String(128), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("changed_by", String(200), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("before", Text),
    Column("after", Text, nullable=False),
)

# People's overrides, numbered per campaign; the newest of an action's slot is in force.
overrides: Final = Table(
    "overrides",
    metadata,
    Column("org_id", String(128), primary_key=True),
    Column("campaign_id", String(128), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("action", String(16), nullable=False),
    Column("bid_micros", BigInteger),
    Column("note", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

# People's words on decisions, numbered per decision.
decision_words: Final = Table(
    "decision_words",
    metadata,
    Column("org_id", String(128), primary_key=True),
    Column("decision_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("campaign_id", String(128), nullable=False),
    Column("word", String(16), nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

# Records of topic `control` on their way to the log, written with the change they tell of.
outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("record_key", String(400), nullable=False),
    Column("record", LargeBinary, nullable=False),
    # 0 until it is in the log.
    Column("published", Integer, nullable=False),
    Index("outbox_unpublished", "published", "id"),
)

# Dead letters that someone has dealt with: corrected, replayed or dropped.
settled_letters: Final = Table(
    "settled_letters",
    metadata,
    Column("dead_letter_id", String(64), primary_key=True),
    Column("how", String(16), nullable=False),
    Column("settled_by", String(200), nullable=False),
    Column("settled_ms", BigInteger, nullable=False),
)


def insert_record(connection: Connection, table: Table, record: ControlRecord, **more: str | None) -> None:
    """Insert the record's fields of the table's names, and `more`."""
    fields = {name: getattr(record, name) for name in (c.name for c in table.columns) if name not in more}
    connection.execute(insert(table).values(fields | more))
