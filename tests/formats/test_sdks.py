"""Segment's own libraries against a real server on loopback: what they send is in the log, and they are content."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.auth import ApiKeys
from api.wiring import Wiring
from api.write_keys import WriteKeys, WriteScope
from control.store import ControlStore
from ingest.group_commit import GroupCommit
from tests.support.memory_log import MemoryLog
from tests.support.needs import need
from tests.support.serve import served

HERE = Path(__file__).parent
WRITE_KEY = "write-key-of-acme"
PLAIN_KEY = "plain-key-of-acme"
KEYS = ApiKeys.parse(
    "full-key:acme",
    WriteKeys(
        (
            (WRITE_KEY.encode(), WriteScope(organisation="acme", costs=True)),
            (PLAIN_KEY.encode(), WriteScope(organisation="acme")),
        )
    ),
)
# Installing takes seconds on an idle machine with a network, minutes on a busy one.
INSTALL_WITHIN_S = 300
SEND_WITHIN_S = 120

pytestmark = [pytest.mark.xdist_group("sdks"), pytest.mark.timeout(900)]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(1)


@pytest.fixture
def host(log: MemoryLog, tmp_path: Path) -> Iterator[str]:
    """The address of an api with keys, in real time."""
    store = ControlStore.open("", tmp_path)
    sink = GroupCommit(log)
    wiring = Wiring(log=log, sink=sink, store=store, now_ms=lambda: time.time_ns() // 1_000_000, keys=KEYS)
    with served(create_app(wiring)) as port:
        yield f"http://127.0.0.1:{port}"
    sink.close()
    store.close()


@pytest.fixture(scope="session")
def python_command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """analytics-python with what it needs beside ours, of which it wants other versions."""
    folder = tmp_path_factory.mktemp("analytics-python")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--target",
         str(folder), "-r", str(HERE / "python" / "requirements.txt")],
        capture_output=True, text=True, timeout=INSTALL_WITHIN_S,
    )  # fmt: skip
    need(done.returncode == 0, f"analytics-python cannot be installed: {done.stderr[-300:]}")
    started = (
        f"import sys, runpy; sys.path.insert(0, {str(folder)!r}); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    return [sys.executable, "-I", "-c", started, str(HERE / "python" / "send.py")]


@pytest.fixture(scope="session")
def node_command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """analytics-node, as its lock file says."""
    need(shutil.which("node") is not None and shutil.which("npm") is not None, "node and npm are not installed")
    folder = tmp_path_factory.mktemp("analytics-node")
    for name in ("package.json", "package-lock.json", "send.mjs"):
        shutil.copy(HERE / "node" / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, timeout=INSTALL_WITHIN_S,
    )  # fmt: skip
    need(done.returncode == 0, f"analytics-node cannot be installed: {done.stderr[-300:]}")
    return ["node", str(folder / "send.mjs")]


def send(command: list[str], host: str, key: str) -> subprocess.CompletedProcess[str]:
    # Proxies of the environment are not for loopback.
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run([*command, host, key], capture_output=True, text=True, timeout=SEND_WITHIN_S, env=environment)


def rows(log: MemoryLog) -> list[dict[str, Any]]:
    return sorted((json.loads(record) for record in log.records("events", 0)), key=lambda row: str(row["type"]))


@pytest.mark.parametrize("sdk", ["python_command", "node_command"])
def test_what_segments_library_tracks_is_in_the_log(
    sdk: str, host: str, log: MemoryLog, request: pytest.FixtureRequest
) -> None:
    command = request.getfixturevalue(sdk)
    done = send(command, host, WRITE_KEY)
    assert done.returncode == 0, done.stderr
    click, order = rows(log)
    assert (click["type"], click["campaign_id"], click["creative_id"]) == ("click", "shoes", "k-1")
    assert (order["type"], order["campaign_id"], order["revenue_micros"]) == ("conversion", "shoes", 59_900_000)
    assert {row["user_id"] for row in (click, order)} == {"u-1"}
    assert {row["org_id"] for row in (click, order)} == {"acme"}
    # Without costs the order counts, and its revenue does not.
    assert send(command, host, PLAIN_KEY).returncode == 0
    assert len(rows(log)) == 4
    assert sum("revenue_micros" in row for row in rows(log)) == 1


@pytest.mark.parametrize("sdk", ["python_command", "node_command"])
def test_segments_library_is_told_of_a_wrong_key(
    sdk: str, host: str, log: MemoryLog, request: pytest.FixtureRequest
) -> None:
    done = send(request.getfixturevalue(sdk), host, "wrong-key-of-nobody")
    assert done.returncode != 0
    assert "refused" in done.stderr
    assert rows(log) == []
