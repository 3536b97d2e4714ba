"""Real servers that tests of any folder may ask for; each is started by the first test that needs it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.support.kafka import shared_broker
from tests.support.redis_server import redis_server


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Kafka broker that all processes of this test run share, or what PENSTOCK_KAFKA names."""
    named = os.environ.get("PENSTOCK_KAFKA")
    if named:
        return named
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        return shared_broker(base.parent / "kafka", os.getppid())
    return shared_broker(base / "kafka", os.getpid())


@pytest.fixture
def kafka_prefix() -> str:
    """A prefix for topic names that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}."


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of this process's own, empty at first, or what PENSTOCK_REDIS names."""
    named = os.environ.get("PENSTOCK_REDIS")
    if named:
        yield named
        return
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url
