"""The production column: Kafka, Redis and a ClickHouse named by its URL, with the same processes as on a laptop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest
import redis
from confluent_kafka import Producer

from benchmarks.stack import Stack, stack
from schemas.topics import EVENTS
from storage.serving import KEY
from tests.support.chdb_service import ChdbService
from tests.support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end_kafka")]

CAMPAIGN = "shoes"
BUDGET_MICROS = 5_000_000


def event(number: int, cost_micros: int) -> dict[str, Any]:
    return {
        "event_id": f"e-{number}", "type": "impression", "ts": time.time_ns() // 1_000_000, "campaign_id": CAMPAIGN,
        "user_id": f"u-{number}", "cost_micros": cost_micros,
    }  # fmt: skip


def penstock(variables: Mapping[str, str], *words: str) -> str:
    """Run a command with these settings and no others; its standard output."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=own | dict(variables), timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def variables(tmp_path: Path, kafka_bootstrap: str, kafka_prefix: str, redis_url: str) -> Iterator[dict[str, str]]:
    """Settings of a deployment with every part a server of its own."""
    clickhouse = ChdbService(tmp_path)
    clickhouse.start()
    yield {
        "PENSTOCK_DATA_DIR": str(tmp_path),
        "PENSTOCK_KAFKA": kafka_bootstrap,
        "PENSTOCK_KAFKA_PREFIX": kafka_prefix,
        "PENSTOCK_REDIS": redis_url,
        "PENSTOCK_CLICKHOUSE": clickhouse.url("production"),
        "PENSTOCK_EPOCH_SECONDS": "1",
    }
    clickhouse.kill()


@pytest.fixture
def production(variables: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """Topics made by the command, then api, flow, store and actuate."""
    assert "events.order" in penstock(variables, "topics", "create")
    with stack(tmp_path, ("api", "flow", "store", "actuate"), variables) as running:
        yield running


def asked(running: Stack, method: str, path: str, body: Any) -> dict[str, Any]:
    """What the api answers when all is well."""
    answer = httpx.request(method, f"{running.url}/api/v1/{path}", json=body, timeout=20)
    assert answer.is_success, answer.text
    return dict(answer.json())


def produced_by_somebody_else(variables: Mapping[str, str], events: list[dict[str, Any]]) -> None:
    """Write to Kafka as a producer that knows the topic's name and nothing of Penstock: any client, its default key."""
    producer = Producer({"bootstrap.servers": variables["PENSTOCK_KAFKA"], "partitioner": "consistent_random"})
    for each in events:
        producer.produce(variables["PENSTOCK_KAFKA_PREFIX"] + EVENTS, json.dumps(each).encode(), key=CAMPAIGN)
    assert producer.flush(20) == 0


async def test_events_from_kafka_and_http_reach_clickhouse_and_a_budget_pauses_in_redis(
    production: Stack, variables: dict[str, str]
) -> None:
    definition = {"name": "Shoes", "currency": "EUR", "daily_budget_micros": BUDGET_MICROS}
    asked(production, "PUT", f"campaigns/{CAMPAIGN}", definition)

    produced_by_somebody_else(variables, [event(number, 400_000) for number in range(10)])
    bad = {"event_id": "bad", "type": "impression", "campaign_id": CAMPAIGN}
    produced_by_somebody_else(variables, [bad])

    def serving() -> dict[str, Any]:
        # What a bidder reads, in whatever language.
        with redis.Redis.from_url(variables["PENSTOCK_REDIS"]) as client:
            raw = client.hget(f"{KEY}default", CAMPAIGN)
        return dict(json.loads(raw)) if isinstance(raw, bytes) else {}

    await until(lambda: serving().get("spendable_micros") == 1_000_000, deadline_s=30)
    assert serving()["paused"] is False

    sent = asked(production, "POST", "events", [event(number, 500_000) for number in (10, 11, 11)])
    assert sent["accepted"] == 3
    await until(lambda: serving().get("paused") is True, deadline_s=30)
    assert serving()["pause_reason"] == "daily_budget_reached"

    client = clickhouse_connect.get_client(dsn=variables["PENSTOCK_CLICKHOUSE"])

    def stored() -> list[tuple[Any, ...]]:
        # The views come last when the store makes its tables.
        if not client.query("EXISTS events_clean").result_rows[0][0]:
            return []
        found = client.query("SELECT count(), uniqExact(event_id), sum(cost_micros) FROM events_clean").result_rows
        return [tuple(row) for row in found]

    await until(lambda: stored() == [(12, 12, BUDGET_MICROS)], deadline_s=30)
    today = f"SELECT impressions, spend_micros FROM campaign_today WHERE campaign_id = '{CAMPAIGN}'"
    await until(lambda: client.query(today).result_rows == [(12, BUDGET_MICROS)], deadline_s=30)
    letters = "SELECT reason FROM dead_letters"
    await until(lambda: client.query(letters).result_rows == [("missing_field",)], deadline_s=30)
    decisions = "SELECT kind, reason FROM decisions"
    await until(lambda: client.query(decisions).result_rows == [("pause", "daily_budget_reached")], deadline_s=30)
    client.close()

    wellness = penstock({**variables, "PENSTOCK_PORT": production.url.rsplit(":", 1)[1]}, "doctor")
    assert "WRONG" not in wellness
