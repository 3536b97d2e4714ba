"""clickhouse-go over HTTP; `tests/storage/test_native.py` has what it needs of the service, for `make test`."""

from __future__ import annotations

import pytest

from tests.clients import programs
from tests.clients.conftest import C1_ABOVE_1000, CAMPAIGNS, Asker
from tests.clients.programs import TAKES_MINUTES

pytestmark = TAKES_MINUTES
TYPES = "1.25,<nil>,é,2026-01-02 00:00:00 +0000 UTC,[1 2],map[a:1],x,61f0c404-5cb3-11e7-907b-a6006ad3dba0,[1 b]"


@pytest.mark.parametrize("name", ["analyst", "ann", "default"])
@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", "none"])
def test_go_asks(askers: dict[str, Asker], name: str, compression: str) -> None:
    asker = askers[name]
    told = programs.go(*asker.arguments, compression)
    expected = {
        "ping": "true",
        "campaigns": asker.rows(CAMPAIGNS),
        "who": f"{name},{name},penstock,0",
        "bound": asker.rows(C1_ABOVE_1000),
        "types": TYPES,
        "server": "UTC",
        "named parameters": asker.rows(C1_ABOVE_1000),
        "many": "300000,44999850000",
        "settings of a query": "100",
    }
    assert {name: told[name] for name in expected} == expected
    assert "FAILED 47" in told["unknown"]
    if name == "default":
        assert told["external"] == asker.rows("SELECT count() FROM events_clean WHERE campaign_id = 'c1'")
        assert (told["write"], told["batch"]) == ("written", "1000,7499500")
    else:
        assert "FAILED 164" in told["write"]
        assert "FAILED 497" in told["external"]
