"""The control plane's database."""

from __future__ import annotations

from cli.doctor.finding import Finding, first_line, without_password
from cli.settings import Settings


def check_database(settings: Settings) -> Finding:
    """The control plane's database opens."""
    import sqlalchemy

    if not settings.database:
        return Finding("control plane", True, f"SQLite in {settings.data_dir}")
    try:
        with sqlalchemy.create_engine(settings.database).connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except sqlalchemy.exc.SQLAlchemyError as error:
        return Finding("control plane", False, first_line(error), "is the database up and PENSTOCK_DATABASE right?")
    return Finding("control plane", True, without_password(settings.database))
