"""Campaigns with their audit, overrides, words on decisions, the outbox, settled dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _changed() -> tuple[sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
    )


def _campaign_key() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("org_id", sa.String(128), primary_key=True),
        sa.Column("campaign_id", sa.String(128), primary_key=True),
    )


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "campaigns",
        *_campaign_key(),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        *_changed(),
    )
    op.create_table(
        "campaign_changes",
        *_campaign_key(),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        *_changed(),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text, nullable=False),
    )
    op.create_table(
        "overrides",
        *_campaign_key(),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("bid_micros", sa.BigInteger),
        sa.Column("note", sa.Text, nullable=False),
        *_changed(),
    )
    _make_words_and_outbox()


def _make_words_and_outbox() -> None:
    op.create_table(
        "decision_words",
        sa.Column("org_id", sa.String(128), primary_key=True),
        sa.Column("decision_id", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("campaign_id", sa.String(128), nullable=False),
        sa.Column("word", sa.String(16), nullable=False),
        *_changed(),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
        sa.Column("record_key", sa.String(400), nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("published", sa.Integer, nullable=False),
    )
    op.create_index("outbox_unpublished", "outbox", ["published", "id"])
    op.create_table(
        "settled_letters",
        sa.Column("dead_letter_id", sa.String(64), primary_key=True),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("settled_by", sa.String(200), nullable=False),
        sa.Column("settled_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in ("settled_letters", "outbox", "decision_words", "overrides", "campaign_changes", "campaigns"):
        op.drop_table(table)
