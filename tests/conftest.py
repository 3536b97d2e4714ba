"""Real servers that tests of any folder may ask for; each is started by the first test that needs it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Iterator

import pytest
from _pytest.nodeid import coerce_node_id

from tests.support.kafka import shared_broker
from tests.support.redis_server import redis_server


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of an `xdist_group` run in one process: pytest 9.2 no longer sees the name that xdist 3.8 gives them."""
    for item in items if getattr(config.option, "loadgroup", False) else []:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
            item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a test sets up of logging, as every command of a process does, ends with the test."""
    root = logging.getLogger()
    before, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    levels = {name: each.level for name, each in root.manager.loggerDict.items() if isinstance(each, logging.Logger)}
    yield
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name, each in root.manager.loggerDict.items():
        if isinstance(each, logging.Logger):
            each.setLevel(levels.get(name, logging.NOTSET))
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hooks


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
