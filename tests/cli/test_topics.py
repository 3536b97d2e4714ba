"""`penstock topics`: the state of the log, and its upkeep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from ingest.local_log import LocalLog
from schemas.topics import ALL, CONTROL, EVENTS


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalLog:
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_KAFKA", raising=False)
    monkeypatch.delenv("PENSTOCK_PARTITIONS", raising=False)
    return LocalLog(tmp_path / "log", partitions=2, fsync=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["topics", *arguments])


def test_every_partition_is_listed_with_the_lag_of_every_group(log: LocalLog) -> None:
    log.append(EVENTS, 1, [b"four", b"more"])
    log.commit("store", EVENTS, 1, 5)
    rows = [json.loads(line) for line in run("--json").stdout.splitlines()]
    assert [row["topic"] for row in rows if row["partition"] == 0] == list(ALL)
    assert rows[1] == {"topic": EVENTS, "partition": 1, "begin": 0, "end": 10, "lag": {"store": 5}}
    assert "lag of store" in run().stdout


def test_compacting_says_what_it_gained(log: LocalLog) -> None:
    log.append(CONTROL, 0, [b'{"key":"a"}'] * 10)
    assert run("compact").stdout == "control: 120 bytes became 12; it starts at offset 120\n"
    assert run("compact", EVENTS).exit_code == 2


def test_retention_can_be_enforced_by_hand(log: LocalLog) -> None:
    assert run("retain").stdout == "removed 0 segments\n"


def test_the_local_log_needs_no_topics_made(log: LocalLog) -> None:
    assert run("create").exit_code == 0


def test_another_number_of_partitions_is_told_in_one_line(log: LocalLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PARTITIONS", "5")
    result = run()
    assert result.exit_code == 1
    assert "set PENSTOCK_PARTITIONS=2" in result.stderr


def test_topics_are_made_on_kafka(kafka_bootstrap: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_KAFKA_PREFIX", kafka_prefix)
    monkeypatch.setenv("PENSTOCK_KAFKA_CONFIG", '{"client.id":"test"}')
    assert run("create").exit_code == 0
    assert run("create").stdout == "all topics are there\n"
    rows = [json.loads(line) for line in run("--json").stdout.splitlines()]
    assert {row["topic"] for row in rows} == set(ALL)
    assert run("retain").exit_code == 2
