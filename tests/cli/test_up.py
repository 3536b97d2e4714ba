"""`penstock up` refuses at once what could never run, and says what to set."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer

from cli.replay import destination
from cli.settings import Settings
from cli.up import refuse_taken_ports
from tests.support.ports import free_ports


def up(data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    api, clickhouse = free_ports(2)
    own: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
        "PENSTOCK_DATA_DIR": str(data_dir),
        "PENSTOCK_PORT": str(api),
        "PENSTOCK_CLICKHOUSE_PORT": str(clickhouse),
        **variables,
    }
    command = [sys.executable, "-m", "cli.main", "up"]
    return subprocess.run(command, env=dict(own), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param({"PENSTOCK_HOST": "0.0.0.0"}, "without API keys", id="an open door"),
        pytest.param({"PENSTOCK_DATA_DIR": "/proc/nothing"}, "cannot be written", id="no place to write"),
        pytest.param({"PENSTOCK_HOST": "192.0.2.1", "PENSTOCK_API_KEYS": "k:o"}, "PENSTOCK_PORT", id="not our address"),
        pytest.param({"PENSTOCK_PORT": "eighty"}, "PENSTOCK_PORT", id="a port that is no number"),
    ],
)
def test_what_cannot_run_is_told_before_anything_starts(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    told = up(tmp_path, **variables)
    assert told.returncode in (1, 2)
    assert words in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "logs").exists()


def test_another_program_at_our_port_does_not_pass_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.up.GRACE_S", 0.2)
    api, clickhouse = free_ports(2)
    refuse_taken_ports(Settings(data_dir=tmp_path, port=api, clickhouse_port=clickhouse))
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        for ports, name in (
            ({"port": taken, "clickhouse_port": clickhouse}, "PENSTOCK_PORT"),
            ({"port": api, "clickhouse_port": taken}, "PENSTOCK_CLICKHOUSE_PORT"),
        ):
            with pytest.raises(typer.Exit):
                refuse_taken_ports(Settings(data_dir=tmp_path, **ports))
            assert f"127.0.0.1:{taken} cannot be had: Address already in use. Set {name}." in capsys.readouterr().err
        # A ClickHouse of one's own needs no port of ours.
        refuse_taken_ports(Settings(port=api, clickhouse_port=taken, clickhouse="http://elsewhere:8123/ads"))


@pytest.mark.parametrize(
    ("given", "sent_to"),
    [
        pytest.param(("", ""), ("http://127.0.0.1:8123", "k1"), id="nothing said: this machine, by its settings"),
        pytest.param(("", "k2"), ("http://127.0.0.1:8123", "k2"), id="a key that is given goes first"),
        pytest.param(("http://there", ""), ("http://there", ""), id="a key of this machine goes nowhere else"),
    ],
)
def test_replays_and_the_demonstration_find_the_api(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, str], sent_to: tuple[str, str]
) -> None:
    monkeypatch.setenv("PENSTOCK_PORT", "8123")
    monkeypatch.setenv("PENSTOCK_HOST", "0.0.0.0")
    monkeypatch.setenv("PENSTOCK_API_KEYS", "k1:acme,k2:beta")
    assert destination(*given) == sent_to
