"""Migrations, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from control import migrate
from control.database import database_url, open_database
from control.store import Action, ControlStore
from control.tables import metadata
from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import decode_control
from tests.support.memory_log import MemoryLog
from tests.support.needs import need


def _binary(name: str) -> str | None:
    """A PostgreSQL program of this machine; Debian keeps them off the path."""
    places = [Path(found)] if (found := shutil.which(name)) else []
    places += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(places[0]) if places else None


def _as_owner(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL started for this module, durability off."""
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    need(initdb is not None and pg_ctl is not None, "PostgreSQL is not installed: no initdb")
    assert initdb is not None
    assert pg_ctl is not None
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-", dir="/tmp"))
    folder.chmod(0o777)
    files, port = folder / "db", _free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run(_as_owner([initdb, "-D", str(files), "-A", "trust", "-U", "postgres", "-N"]), check=True, cwd="/tmp")
    control = [pg_ctl, "-D", str(files), "-w"]
    subprocess.run(_as_owner([*control, "-l", str(folder / "log"), "-o", options, "start"]), check=True, cwd="/tmp")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(_as_owner([*control, "-m", "immediate", "stop"]), check=True, cwd="/tmp")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of each kind."""
    url = database_url(request.getfixturevalue("postgres") if request.param == "postgres" else "", tmp_path)
    opened = open_database(url)
    yield opened
    with contextlib.suppress(Exception), opened.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
    opened.dispose()


def test_the_migrations_make_just_the_tables_that_the_code_names(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_processes_that_start_at_once_migrate_once(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [engine] * 4))
    migrate.upgrade(engine)
    ControlStore(engine).ping()
    with engine.connect() as connection:
        # Each run of the migrations would have left a version of its own.
        assert len(connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()) == 1
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_change_is_stored_and_published_on_either_database(engine: Engine) -> None:
    migrate.upgrade(engine)
    store, log = ControlStore(engine), MemoryLog()
    fields = {"campaign_id": "shoes", "name": "Shoes", "currency": "EUR", "daily_budget_micros": 5}
    definition = Campaign.model_validate(fields)
    assert store.put_campaign(definition, changed_by="ana", now_ms=1) == 1
    assert store.override("default", "shoes", Action.PAUSE, changed_by="ana", now_ms=2) == 1
    assert store.publish_outbox(log) == 2
    assert [decode_control(record).campaign_id for record in log.records(topics.CONTROL)] == ["shoes", "shoes"]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "sqlite:////srv/penstock/control.db"),
        ("postgres://u@h/db", "postgresql+psycopg://u@h/db"),
        ("postgresql://u@h/db", "postgresql+psycopg://u@h/db"),
        ("postgresql+psycopg://u@h/db", "postgresql+psycopg://u@h/db"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
    ],
    ids=["empty_is_a_file", "short_scheme", "scheme_without_driver", "driver_named", "another_file"],
)
def test_a_database_url_names_its_driver(given: str, url: str) -> None:
    assert database_url(given, Path("/srv/penstock")) == url
