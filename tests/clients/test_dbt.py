"""dbt with its ClickHouse adapter: it looks, and it makes tables, views and increments."""

from __future__ import annotations

from tests.clients import programs
from tests.clients.conftest import Asker

pytestmark = programs.TAKES_MINUTES


def told(asker: Asker, schema: str) -> dict[str, str]:
    """What the profile says of a user."""
    port = str(asker.service.port)
    return {"ASK_PORT": port, "ASK_USER": asker.name, "ASK_PASSWORD": asker.password, "ASK_SCHEMA": schema}


def test_dbt_debug_connects(askers: dict[str, Asker]) -> None:
    assert "All checks passed!" in programs.dbt("debug", told(askers["default"], "ads"))


def test_dbt_runs_twice(askers: dict[str, Asker]) -> None:
    asker = askers["default"]
    for _ in range(2):
        assert "PASS=3" in programs.dbt("run", told(asker, "ads"))
    assert asker.rows("SELECT count(), uniqExact(event_id) FROM ads.newest") == "1000,1000"
    assert asker.rows("SELECT campaign_id, clicks FROM ads.top") == "c0,334"
