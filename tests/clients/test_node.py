"""@clickhouse/client of npm."""

from __future__ import annotations

import pytest

from tests.clients import programs
from tests.clients.conftest import C1_ABOVE_1000, CAMPAIGNS, Asker


@pytest.mark.parametrize("name", ["analyst", "ann", "default"])
def test_node_asks(askers: dict[str, Asker], name: str) -> None:
    asker = askers[name]
    told = programs.node(*asker.arguments)
    expected = {
        "ping": "true",
        "ping by a query": "true",
        "campaigns": asker.rows(CAMPAIGNS),
        "who": f"{name},{name},penstock,0",
        "named parameters": asker.rows(C1_ABOVE_1000),
        "settings of a query": "0;1;2",
        "one document": "4,n",
        "many": "300000,44999850000",
        "text": '1,"é"',
    }
    assert {name: told[name] for name in expected} == expected
    assert "FAILED 47" in told["unknown"]
    if name == "default":
        assert told["inserted"] == "1001,504500,last"
    else:
        assert "FAILED 497" in told["refused"]
        assert "FAILED 164" in told["insert refused"]
