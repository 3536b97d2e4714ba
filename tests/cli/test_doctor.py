"""Doctor says of every part whether it works, and what to do when it does not."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from cli.doctor.address import check_api, check_exposure
from cli.doctor.clickhouse import check_clickhouse
from cli.doctor.event_log import check_log
from cli.doctor.finding import Finding
from cli.doctor.machine import check_data_dir
from cli.doctor.serving import check_redis
from cli.settings import Settings
from tests.support.ports import free_ports

PORTS = free_ports(2)


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(**{"data_dir": tmp_path, "port": PORTS[0], "clickhouse_port": PORTS[1], **changes})


def said(finding: Finding) -> str:
    return f"{finding.seen} | {finding.mend}"


def test_an_embedded_setup_is_well(tmp_path: Path) -> None:
    here = settings(tmp_path)
    for check in (check_data_dir, check_exposure, check_log, check_redis, check_api):
        finding = check(here)
        assert finding.ok, said(finding)


@pytest.mark.parametrize(
    ("check", "changes", "mend"),
    [
        pytest.param(check_exposure, {"host": "0.0.0.0"}, "PENSTOCK_API_KEYS", id="an open door"),
        pytest.param(check_log, {"kafka": "127.0.0.1:1"}, "topics create", id="Kafka is down"),
        pytest.param(check_clickhouse, {}, "penstock up", id="the chDB service is down"),
        pytest.param(check_clickhouse, {"clickhouse": "http://u:hush@127.0.0.1:1/x"}, "URL", id="ClickHouse is down"),
        pytest.param(check_redis, {"redis": "redis://:hush@127.0.0.1:1/0"}, "PENSTOCK_REDIS", id="Redis is down"),
        pytest.param(check_data_dir, {"data_dir": Path("/proc/nothing")}, "PENSTOCK_DATA_DIR", id="no place to write"),
    ],
)
def test_what_is_wrong_comes_with_its_mend(tmp_path: Path, check: Any, changes: dict[str, Any], mend: str) -> None:
    finding = check(settings(tmp_path, **changes))
    assert not finding.ok
    assert mend in finding.mend
    assert "hush" not in said(finding)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        finding = check_api(settings(tmp_path, port=other.getsockname()[1]))
    assert not finding.ok
    assert "PENSTOCK_PORT" in finding.mend
