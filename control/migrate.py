"""Bring a control database to the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from control.database import writing

# Two processes that start at once migrate one after the other.
_MIGRATION_LOCK: Final = 7_362_014_551


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, all or none; safe when several processes start at once.

    Raises sqlalchemy.exc.SQLAlchemyError when the database is not reachable or not ours to change.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with writing(engine, _MIGRATION_LOCK) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
