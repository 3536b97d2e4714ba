"""Doctor says of every part whether it works, and what to do when it does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
def test_what_is_wrong_comes_with_its_mend(
    tmp_path: Path, check: Any, changes: dict[str, Any], mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.kafka_log.QUERY_S", 2.0)
    finding = check(settings(tmp_path, **changes))
    assert not finding.ok
    assert mend in finding.mend
    assert "hush" not in said(finding)


@contextmanager
def api_that_says(*answers: dict[str, str]) -> Iterator[int]:
    """The port of something that answers /readyz with these parts, one answer after the other, the last again."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = left.pop(0) if len(left) > 1 else left[0]
            body = json.dumps({"parts": parts}).encode()
            self.send_response(200 if set(parts.values()) == {"ok"} else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


ABSENT = "has not reported; is `penstock actuate` running?"


@pytest.mark.parametrize("said_first", [ABSENT, "starting: loads kernels"], ids=["no_report_yet", "loading"])
def test_a_part_that_is_about_to_start_is_waited_for(tmp_path: Path, said_first: str) -> None:
    with api_that_says({"flow": "ok", "actuate": said_first}, {"flow": "ok", "actuate": "ok"}) as port:
        finding = check_api(settings(tmp_path, port=port))
    assert finding.ok, said(finding)


def test_a_part_that_does_not_come_is_told_and_so_is_the_setting_that_leaves_it_out(tmp_path: Path) -> None:
    with api_that_says({"flow": "ok", "actuate": ABSENT}) as port:
        finding = check_api(settings(tmp_path, port=port), start_s=0.5)
    assert not finding.ok
    assert "actuate has not reported" in finding.seen
    assert "PENSTOCK_READY_PARTS" in finding.mend


def test_a_part_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    answers = {"flow": "stuck: its dataflow loop has not moved for 34 s", "actuate": ABSENT}, {"flow": "ok"}
    with api_that_says(*answers) as port:
        finding = check_api(settings(tmp_path, port=port))
    assert not finding.ok
    assert "flow stuck" in finding.seen


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        finding = check_api(settings(tmp_path, port=other.getsockname()[1]))
    assert not finding.ok
    assert "PENSTOCK_PORT" in finding.mend
