"""A chDB service for all tests of this folder, and a database of its own for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


@contextmanager
def new_name(service: ChdbService) -> Iterator[str]:
    """The name of a database that is not there yet; it is dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield name
    with connect(service.url("system")) as client:
        client.command(f"DROP DATABASE IF EXISTS {name}")


@contextmanager
def made_database(service: ChdbService, name: str) -> Iterator[Database]:
    """A database of that name with every table and view."""
    url = service.url(name)
    with prepare(url, raw_ttl_days=90, window_ttl_days=1826) as client:
        yield Database(name, url, client)


@pytest.fixture
def empty_name(service: ChdbService) -> Iterator[str]:
    """The name of a database that is not there yet; it is dropped afterwards."""
    with new_name(service) as name:
        yield name


@pytest.fixture
def database(service: ChdbService, empty_name: str) -> Iterator[Database]:
    """A database with every table and view."""
    with made_database(service, empty_name) as made:
        yield made


@pytest.fixture(scope="session")
def empty_database(service: ChdbService) -> Iterator[Database]:
    """A database with every table and view, for tests that write nothing."""
    with new_name(service) as name, made_database(service, name) as made:
        yield made
