"""A chDB service for all tests of this folder, and a database of its own for each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from storage.client import connect
from storage.schema import prepare
from tests.support.chdb_service import ChdbService


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbService]:
    """The service; a test that kills it starts one of its own."""
    running = ChdbService(tmp_path_factory.mktemp("chdb"))
    running.start()
    yield running
    running.kill()


@dataclass
class Database:
    """A database with every table, and a client for it."""

    name: str
    url: str
    client: Any

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return [tuple(row) for row in self.client.query(query, parameters=parameters).result_rows]


class NamedServer:
    """The server that PENSTOCK_CLICKHOUSE names; its user does everything."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)

    def url(self, database: str, user: str = "") -> str:
        """The URL of a database; the user stays the named one."""
        return urlunsplit(self._parts._replace(path=f"/{database}"))


Server = ChdbService | NamedServer


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """What PENSTOCK_CLICKHOUSE names, else the chDB service."""
    named = os.environ.get("PENSTOCK_CLICKHOUSE")
    if named:
        return NamedServer(named)
    service: ChdbService = request.getfixturevalue("service")
    return service


@contextmanager
def made_database(server: Server) -> Iterator[Database]:
    """A database with every table and view; it is dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    url = server.url(name)
    with prepare(url, raw_ttl_days=90, window_ttl_days=1826) as client:
        yield Database(name, url, client)
    with connect(server.url("system")) as client:
        client.command(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A database with every table and view."""
    with made_database(server) as made:
        yield made


@pytest.fixture
def chdb_database(service: ChdbService) -> Iterator[Database]:
    """The same in the chDB service, for tests of the service itself."""
    with made_database(service) as made:
        yield made


@pytest.fixture(scope="session")
def empty_database(service: ChdbService) -> Iterator[Database]:
    """The same, for tests that write nothing."""
    with made_database(service) as made:
        yield made
