"""docker-compose.yml holds the production column and is valid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yml"
PARTS = ("kafka", "clickhouse", "redis", "postgres", "api", "flow", "store", "actuate")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return loaded


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_there_with_a_health_check(services: dict[str, Any], part: str) -> None:
    assert services[part]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("part", ["api", "flow", "store", "actuate"])
def test_penstock_processes_wait_for_healthy_parts(services: dict[str, Any], part: str) -> None:
    waits = services[part]["depends_on"]
    assert {name for name, how in waits.items() if how["condition"] == "service_healthy"} == {
        "kafka", "clickhouse", "redis", "postgres",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["topics", "api", "flow", "store", "actuate"])
def test_every_penstock_process_is_a_command_that_exists(services: dict[str, Any], part: str) -> None:
    from typer.main import get_command

    from cli.main import app

    assert services[part]["command"][0] in get_command(app).commands  # type: ignore[attr-defined]


def test_every_setting_in_the_file_exists(services: dict[str, Any]) -> None:
    from cli.settings import Settings

    known = {f"PENSTOCK_{name.upper()}" for name in Settings.model_fields}
    named = {key for service in services.values() for key in service.get("environment", {}) if key.startswith("PENS")}
    assert named <= known


def test_the_file_is_valid() -> None:
    """By the client where it is installed, else by the schema of the Compose specification."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0:
        command = [docker, "compose", "-f", str(COMPOSE), "config", "--quiet"]
    else:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    environment = {**os.environ, "PENSTOCK_API_KEYS": "k:default"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
