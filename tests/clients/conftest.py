"""A chDB service with two organisations' rows, and its three kinds of users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import clickhouse_connect
import pytest

from storage.schema import prepare
from tests.support.chdb_service import ChdbService

_EVENTS = """INSERT INTO events (event_id, type, ts, org_id, campaign_id, cost_micros)
SELECT toString(number), 'click', toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number,
    if(number % 5 = 0, 'two', 'one'), concat('c', toString(number % 3)), number * 10
FROM numbers(1000)"""
CAMPAIGNS = "SELECT campaign_id, count(), sum(cost_micros) FROM events_clean GROUP BY campaign_id ORDER BY campaign_id"
C1_ABOVE_1000 = "SELECT count() FROM events_clean WHERE campaign_id = 'c1' AND cost_micros > 1000"


@dataclass(frozen=True)
class Asker:
    """A user of the service."""

    service: ChdbService
    name: str
    password: str

    @property
    def arguments(self) -> list[str]:
        """host:port, database, user, password"""
        return [f"127.0.0.1:{self.service.port}", "penstock", self.name, self.password]

    @cached_property
    def client(self) -> Any:
        """clickhouse-connect for this user."""
        return clickhouse_connect.get_client(
            host="127.0.0.1",
            port=self.service.port,
            username=self.name,
            password=self.password,
            database="penstock",
            autogenerate_session_id=False,
        )

    def rows(self, query: str) -> str:
        """What clickhouse-connect reads, written as the programs of this folder write it."""
        return ";".join(",".join(map(str, row)) for row in self.client.query(query).result_rows)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbService]:
    """The service, with data."""
    settings = {
        "api_keys": "k1:one,k2:two",
        "clickhouse_analysts": "ann:pw1:one",
        "clickhouse_analyst_password": "look",
    }
    service = ChdbService(tmp_path_factory.mktemp("shop"), **settings)
    service.start()
    with prepare(service.url("penstock"), raw_ttl_days=3650, window_ttl_days=3650) as client:
        client.command(_EVENTS)
        client.command("CREATE TABLE notes (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
    yield service
    service.kill()


@pytest.fixture(scope="session")
def askers(shop: ChdbService) -> dict[str, Asker]:
    """The users by name: `default`, `analyst`, and `ann` of organisation `one`."""
    passwords = {"default": shop.password, "analyst": "look", "ann": "pw1"}
    return {name: Asker(shop, name, password) for name, password in passwords.items()}
