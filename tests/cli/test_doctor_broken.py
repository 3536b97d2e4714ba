"""Doctor with every part broken in turn: one sentence and its mend, never an exception as the driver raised it."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.doctor.checks import CHECKS, bounded, examine
from cli.doctor.finding import Finding
from cli.settings import Settings
from tests.support.ports import free_ports

# Marks of an exception that was printed as it came.
RAW = re.compile(
    r"Traceback|0x[0-9a-f]{4}|object at|HTTPConnectionPool|\w+\(['\"]|sqlalche\.me|Errno|<class|\(\w+\.\w+\)|\bNone\b"
)
GARBAGE = b"\x00\xff}{ not what you think\r\n\r\n"


@contextmanager
def server(says: bytes | None) -> Iterator[int]:
    """A program that answers every connection with the same bytes, or with nothing for ever."""
    taken: list[socket.socket] = []

    def serve(listening: socket.socket) -> None:
        try:
            while True:
                connection, _ = listening.accept()
                taken.append(connection)
                if says is not None:
                    connection.sendall(says)
                    connection.close()
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]
    for connection in taken:
        connection.close()


@pytest.fixture(autouse=True)
def short_patience_with_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said after ten seconds in vain is said after two."""
    for module in ("ingest.kafka_log", "ingest.kafka_reader"):
        monkeypatch.setattr(f"{module}.QUERY_S", 2.0)


def check(part: str, settings: Settings) -> list[Finding]:
    checks = dict(CHECKS)
    return bounded(part, checks[part], settings, seconds=8.0)


def garbage(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(GARBAGE * 40)


def nothing(_: Path) -> None:
    return


@pytest.mark.parametrize(
    ("part", "break_it", "changes"),
    [
        pytest.param("data folder", lambda d: garbage(d, "file"), {"data_dir": "file"}, id="the data folder is a file"),
        pytest.param("event log", lambda d: garbage(d, "log"), {}, id="the log folder is a file"),
        pytest.param("event log", lambda d: garbage(d, "log/meta.json"), {}, id="the log's description is garbage"),
        pytest.param("event log", nothing, {"kafka": "no.such.host.invalid:9092"}, id="Kafka's host is unknown"),
        pytest.param("event log", nothing, {"kafka": "127.0.0.1:1", "kafka_config": {"nonsense": "1"}}, id="bad Kafka"),
        pytest.param("ClickHouse", nothing, {"clickhouse": "http://u:hush@no.such.host.invalid:1"}, id="CH's host"),
        pytest.param("ClickHouse", nothing, {"clickhouse": "nonsense"}, id="a ClickHouse URL that is none"),
        pytest.param("ClickHouse", nothing, {"clickhouse": "http://u:hush@127.0.0.1:port"}, id="a port that is none"),
        pytest.param("serving state", nothing, {"redis": "http://u:hush@127.0.0.1"}, id="a Redis URL that is none"),
        pytest.param("serving state", nothing, {"redis": "redis://:hush@no.such.host.invalid"}, id="Redis' host"),
        pytest.param("control plane", lambda d: garbage(d, "control.db"), {}, id="the control database is garbage"),
        pytest.param("control plane", nothing, {"database": "nonsense"}, id="a database URL that is none"),
        pytest.param("control plane", nothing, {"database": "oracle://u:hush@h/x"}, id="a database without driver"),
        pytest.param(
            "control plane", nothing, {"database": "postgresql+psycopg://u:hush@127.0.0.1:1/x"}, id="a database down"
        ),
    ],
)
def test_a_broken_part_is_one_sentence_with_its_mend(
    tmp_path: Path, part: str, break_it: Callable[[Path], None], changes: dict[str, Any]
) -> None:
    break_it(tmp_path)
    given = {"data_dir": tmp_path, **changes}
    if isinstance(given["data_dir"], str):
        given["data_dir"] = tmp_path / given["data_dir"] / "below"
    must_be_plain(check(part, Settings(**given)))


@pytest.mark.parametrize("says", [pytest.param(GARBAGE, id="garbage"), pytest.param(None, id="silence")])
@pytest.mark.parametrize("part", ["event log", "ClickHouse", "serving state", "control plane", "api"])
def test_a_part_that_speaks_garbage_or_nothing_is_told_in_time(tmp_path: Path, part: str, says: bytes | None) -> None:
    with server(says) as port:
        where = f"127.0.0.1:{port}"
        settings = Settings(
            data_dir=tmp_path,
            port=port,
            kafka=where,
            clickhouse=f"http://u:hush@{where}/x",
            redis=f"redis://:hush@{where}",
            database=f"postgresql+psycopg://u:hush@{where}/x",
        )
        began = time.monotonic()
        must_be_plain(check(part, settings))
        assert time.monotonic() - began < 60.0


def test_a_check_that_fails_itself_or_never_ends_is_a_finding_too(tmp_path: Path) -> None:
    def fails(_: Settings) -> Finding:
        raise RuntimeError("<object at 0x7f00aa> said no")

    def hangs(_: Settings) -> Finding:
        threading.Event().wait()
        raise AssertionError

    settings = Settings(data_dir=tmp_path)
    must_be_plain(bounded("a", fails, settings))
    [hung] = bounded("b", hangs, settings, seconds=0.2)
    assert "no answer within 0.2 s" in hung.seen


def test_reports_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    garbage(tmp_path, "run/flow.json")
    ports = free_ports(2)
    found = examine(Settings(data_dir=tmp_path, port=ports[0], clickhouse_port=ports[1]))
    assert not [finding for finding in found if finding.part.startswith("process")]


def must_be_plain(findings: list[Finding]) -> None:
    [finding] = findings
    assert not finding.ok, finding
    assert finding.mend
    said = f"{finding.seen} {finding.mend}"
    assert not RAW.search(said), said
    assert "hush" not in said
    assert len(said) < 500
    assert "\n" not in said
