"""ClickHouse's JDBC driver."""

from __future__ import annotations

import pytest

from tests.clients import programs
from tests.clients.conftest import C1_ABOVE_1000, CAMPAIGNS, Asker

TABLES = "SELECT name FROM system.tables WHERE database = 'penstock' ORDER BY name"
VIEWS = TABLES.replace("ORDER BY", "AND name LIKE 'events%' AND engine = 'View' ORDER BY")
COLUMNS = "SELECT name FROM system.columns WHERE database = 'penstock' AND table = 'events' ORDER BY name"


def check_answers(asker: Asker, told: dict[str, str]) -> None:
    expected = {
        "campaigns": asker.rows(CAMPAIGNS),
        "who": f"{asker.name},{asker.name},penstock,[]",
        "many": "300000,44999850000,1688890",
        "types": "1.25,null,é,2026-01-02,true,61f0c404-5cb3-11e7-907b-a6006ad3dba0,a",
        "array": "3",
        "map": "{a=1}",
        "prepared": asker.rows(C1_ABOVE_1000),
        "named parameters": asker.rows(C1_ABOVE_1000),
        "limited": "0;1;2",
        "valid": "true",
        "product": "ClickHouse",
        "user": asker.name,
        "tables": asker.rows(TABLES).replace(";", ","),
        "views": asker.rows(VIEWS).replace(";", ","),
        "columns": asker.rows(COLUMNS).replace(";", ","),
        "schemas": "true",
        "catalogs": "read",
        "types of tables": "true",
        "type info": "true",
        "functions": "true",
        "keys": "false",
        "imported keys": "",
        "indexes": "read",
        "procedures": "",
    }
    assert {name: told[name] for name in expected} == expected
    assert "47" in told["unknown"]
    assert "nope" in told["unknown"]


@pytest.mark.parametrize("name", ["analyst", "ann", "default"])
def test_jdbc_asks_with_its_defaults(askers: dict[str, Asker], name: str) -> None:
    asker = askers[name]
    told = programs.java(*asker.arguments)
    check_answers(asker, told)
    if name == "default":
        assert told["read back"] == "1000,499500,it's 999"
    else:
        assert "497" in told["refused"]
        assert "164" in told["insert refused"]


@programs.TAKES_MINUTES
@pytest.mark.parametrize(
    "given",
    [
        pytest.param(["compress=false"], id="plain answers"),
        pytest.param(["decompress=true"], id="packed statements"),
        pytest.param(["client.use_http_compression=true", "compress=false"], id="HTTP's own compression, none asked"),
    ],
)
@pytest.mark.parametrize("name", ["ann", "default"])
def test_jdbc_asks_however_it_packs(askers: dict[str, Asker], name: str, given: list[str]) -> None:
    asker = askers[name]
    check_answers(asker, programs.java(*asker.arguments, *given))
