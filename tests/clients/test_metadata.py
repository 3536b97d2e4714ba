"""The statements that dashboards and database tools send by themselves, as they send them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import Asker

STATEMENTS = [
    line.split("\t", 1) for line in (Path(__file__).parent / "statements.txt").read_text().splitlines() if line
]


@pytest.mark.parametrize("name", ["analyst", "ann"])
@pytest.mark.parametrize(("tool", "query"), STATEMENTS)
def test_a_tool_is_answered(askers: dict[str, Asker], name: str, tool: str, query: str) -> None:
    asker = askers[name]
    known = {"X-ClickHouse-User": name, "X-ClickHouse-Key": asker.password, "X-ClickHouse-Database": "penstock"}
    settings = {"default_format": "JSON", "session_id": "one", "max_execution_time": "60"}
    answer = httpx.post(asker.service.address, params=settings, content=query, headers=known, timeout=60)
    assert answer.status_code == 200, answer.text
    if " FORMAT " not in query and not query.startswith("EXPLAIN"):
        assert answer.json()["rows"] > 0, tool
