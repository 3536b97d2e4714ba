"""The control plane's database."""

from __future__ import annotations

from cli.doctor.finding import Finding, first_line, without_password
from cli.settings import Settings


def check_database(settings: Settings) -> Finding:
    """The control plane's database opens."""
    import sqlalchemy

    file = settings.data_dir / "control.db"
    if not settings.database and not file.exists():
        return Finding("control plane", True, f"SQLite in {settings.data_dir}, not made yet")
    try:
        engine = sqlalchemy.create_engine(settings.database or f"sqlite:///file:{file.absolute()}?mode=ro&uri=true")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1" if settings.database else "SELECT count(*) FROM campaigns"))
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        if not settings.database:
            mend = "restore it with `penstock restore`, or move it away: campaigns are then taken from the log"
            return Finding("control plane", False, f"{file}: {first_line(error)}", mend)
        return Finding("control plane", False, first_line(error), "is the database up and PENSTOCK_DATABASE right?")
    return Finding("control plane", True, without_password(settings.database) or f"SQLite in {settings.data_dir}")
