"""Logs: one line an entry, for people or for programs, with the ids of what they are about and without secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.logs import formatter
from tests.cli.test_up_health import Up, ups

__all__ = ["ups"]


def entry(form: Any, message: str, fields: Callable[[], dict[str, str]] = dict, **extra: Any) -> str:
    record = logging.LogRecord("platforms.host", logging.WARNING, "x.py", 1, message, (), None)
    record.__dict__.update(extra)
    return formatter("actuate", form, fields).format(record)


def test_a_json_entry_carries_its_ids() -> None:
    line = entry("json", "pause d1", lambda: {"request_id": "r1"}, decision_id="d1", platform="google", status=None)
    told = json.loads(line)
    wanted = {"level": "WARNING", "process": "actuate", "message": "pause d1", "decision_id": "d1", "request_id": "r1"}
    assert wanted.items() <= told.items()
    assert "status" not in told


def test_a_text_entry_is_one_line_with_the_same_ids() -> None:
    assert entry("text", "pause d1", decision_id="d1").endswith("actuate: WARNING pause d1 decision_id=d1")


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_gets_into_a_log(form: str) -> None:
    line = entry(form, "cannot reach http://me:hush@host/x", access_token="hush", password="hush")
    assert "hush" not in line
    assert "***" in line


def test_an_exception_of_a_json_entry_stays_in_its_line() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    line = formatter("flow", "json").format(record)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: no such thing")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_process_writes_json_and_nothing_else(
    ups: Callable[..., Up],
    tmp_path: Path,
) -> None:
    up = ups(tmp_path / "data", PENSTOCK_LOG_FORMAT="json", PENSTOCK_LOG_LEVEL="info")
    up.until(lambda: "Penstock runs" in up.said)
    up.end()
    said = {path.stem: list(_lines(path)) for path in (tmp_path / "data" / "logs").glob("*.log")}
    assert {"api", "clickhouse", "flow", "store", "actuate"} <= set(said)
    for name, entries in said.items():
        for told in entries:
            assert {"time", "level", "process", "message"} <= set(told), (name, told)
            assert told["process"] == name


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        # The engine's own C++ says this past Python, while the process ends.
        if line.startswith("Exception in global_context->shutdown()"):
            continue
        try:
            yield json.loads(line)
        except ValueError:
            pytest.fail(f"{path.name}: not JSON: {line[:300]}")
