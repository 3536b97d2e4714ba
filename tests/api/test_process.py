"""`penstock api` as a process: what it refuses, and what survives SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.main import app
from ingest.local_log import LocalLog
from schemas import topics
from schemas.control import decode_control
from tests.support.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
NOW_MS = time.time_ns() // 1_000_000
SHOES = {"name": "Shoes", "currency": "EUR", "daily_budget_micros": 5_000_000}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ads.example"])
def test_binding_to_more_than_loopback_without_a_key_is_refused(tmp_path: Path, host: str) -> None:
    environment = {"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_HOST": host, "PENSTOCK_API_KEYS": ""}
    result = CliRunner(env=environment).invoke(app, ["api"])
    assert result.exit_code == 2
    assert f"refusing to bind to {host} without API keys" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PENSTOCK_API_KEYS", "secret-without-organisation"), ("PENSTOCK_LANDING_HOSTS", "https://shop.example")],
)
def test_a_wrong_setting_is_named_without_showing_a_key(tmp_path: Path, variable: str, value: str) -> None:
    result = CliRunner(env={"PENSTOCK_DATA_DIR": str(tmp_path), variable: value}).invoke(app, ["api"])
    assert (result.exit_code, variable in result.stderr) == (2, True)
    assert "secret" not in result.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"PENSTOCK_DATABASE": "postgresql://penstock:hidden@127.0.0.1:1/x"}, "the control database failed"),
        ({"PENSTOCK_PARTITIONS": "3"}, "partitions"),
    ],
    ids=["database_away", "other_number_of_partitions"],
)
def test_a_part_that_cannot_be_opened_is_one_clear_line(tmp_path: Path, setting: dict[str, str], said: str) -> None:
    LocalLog(tmp_path / "log", partitions=2).close()
    environment = {"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_PARTITIONS": "2", **setting}
    result = CliRunner(env=environment).invoke(app, ["api"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert said in result.stderr
    assert "hidden" not in result.stderr


class Server:
    """`penstock api` on a data folder and a port of its own; stays on both over restarts."""

    def __init__(self, folder: Path, **settings: str) -> None:
        (port,) = free_ports(1)
        self._environment = os.environ | {
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_PORT": str(port),
            "PENSTOCK_PARTITIONS": "1",
            **settings,
        }
        self._output = folder / "api.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0)

    def start(self) -> None:
        watch = [sys.executable, str(ROOT / "tests" / "support" / "watch.py"), str(os.getpid())]
        with self._output.open("ab") as output:
            command = [*watch, sys.executable, "-m", "cli.main", "api"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._output.read_text()[-2_000:])
            time.sleep(0.02)

    def end(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)
            self._process.wait(60)
            self._process = None

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz?parts=log,control,serving").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.end(signal.SIGKILL)
    made.client.close()


def _records(folder: Path, topic: str) -> list[bytes]:
    log = LocalLog(folder / "log", partitions=1)
    chunk = log.read(topic, 0, 0, 1 << 20)
    log.close()
    return chunk.records() if chunk is not None else []


def test_what_was_acknowledged_survives_sigkill_and_the_next_start_goes_on(server: Server, tmp_path: Path) -> None:
    server.start()
    event = {"event_id": "e1", "type": "click", "ts": NOW_MS, "campaign_id": "shoes"}
    assert server.client.post("/api/v1/events", json=event).status_code == 202
    assert server.client.put("/api/v1/campaigns/shoes", json=SHOES).status_code == 200
    server.end(signal.SIGKILL)
    assert len(_records(tmp_path, topics.EVENTS)) == 1
    server.start()
    assert server.client.get("/api/v1/campaigns/shoes").json()["version"] == 1
    assert server.client.post("/api/v1/events", json=event | {"event_id": "e2"}).status_code == 202
    deadline = time.monotonic() + 30
    while not _records(tmp_path, topics.CONTROL):
        assert time.monotonic() < deadline
    server.end(signal.SIGTERM)
    assert len(_records(tmp_path, topics.EVENTS)) == 2
    # At least once: the kill may have come between the append and its mark.
    versions = [decode_control(record).version for record in _records(tmp_path, topics.CONTROL)]
    assert set(versions) == {1}


@pytest.mark.parametrize(
    ("trusted", "ip"),
    [("", "127.0.0.1"), ("10.0.0.0/8", "127.0.0.1"), ("10.0.0.0/8, 127.0.0.1", "192.0.2.9")],
    ids=["nobody", "others", "this_one"],
)
def test_a_forwarded_address_is_believed_from_trusted_proxies_only(tmp_path: Path, trusted: str, ip: str) -> None:
    server = Server(tmp_path, PENSTOCK_TRUSTED_PROXIES=trusted)
    server.start()
    try:
        answer = server.client.get("/api/v1/pixel.gif?campaign_id=c", headers={"X-Forwarded-For": "192.0.2.9"})
        assert "x-penstock-reason" not in answer.headers
    finally:
        server.end(signal.SIGTERM)
        server.client.close()
    (record,) = _records(tmp_path, topics.EVENTS)
    assert json.loads(record)["ip"] == ip
