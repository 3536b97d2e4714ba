"""The api on Kafka: events, control and decisions go the same way as on the local log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.kafka_log import KafkaLog
from ingest.kafka_topics import ensure_topics
from schemas import topics
from schemas.decisions import encode_decision
from schemas.serving import Serving, encode_serving, key_of
from schemas.topics import partition_of
from tests.api.conftest import NOW_MS, Apis
from tests.support.decisions import decision_of
from tests.support.until import until

PAUSE = decision_of(
    decision_id="d1", org_id="default", campaign_id="shoes", kind="pause", reason="daily_budget_reached", ts_ms=1,
    effective_ms=1, before={}, after={}, inputs={}, policy="p",
)  # fmt: skip


@pytest.fixture
def log(kafka_bootstrap: str, kafka_prefix: str) -> Iterator[KafkaLog]:
    ensure_topics(kafka_bootstrap, 2, prefix=kafka_prefix)
    opened = KafkaLog(kafka_bootstrap, prefix=kafka_prefix)
    yield opened
    opened.close()


def records(log: KafkaLog, topic: str, partition: int = 0) -> list[bytes]:
    chunk = log.read(topic, partition, log.begin(topic, partition), 1 << 20, timeout_s=5.0)
    return chunk.records() if chunk is not None else []


async def test_events_changes_and_decisions_go_through_kafka(apis: Apis, log: KafkaLog) -> None:
    api = apis.start(log)
    lines = [
        json.dumps({"event_id": f"e{n}", "type": "click", "ts": NOW_MS, "campaign_id": f"c{n}"}).encode()
        for n in range(10)
    ]
    assert api.post(b"\n".join([*lines, b"x"]), content_type="text/plain").json()["accepted"] == 10
    for partition in (0, 1):
        wanted = [line for n, line in enumerate(lines) if partition_of(f"c{n}", 2) == partition]
        assert records(log, topics.EVENTS, partition) == wanted
    assert len(records(log, topics.DEAD_LETTERS)) == 1

    api.client.put("/api/v1/campaigns/shoes", json={"name": "S", "currency": "EUR", "bidding": {"bid_micros": 500}})
    log.append(topics.DECISIONS, 0, [encode_decision(PAUSE)])
    word = Serving(org_id="default", campaign_id="shoes", seq=1, paused=True, bid_micros=500)
    log.append(topics.SERVING, 0, [encode_serving(word)], keys=[key_of(word)])

    def served() -> dict[str, Any]:
        answer = api.client.get("/api/v1/campaigns/shoes/serving")
        return dict(answer.json()) if answer.status_code == 200 else {}

    await until(lambda: served().get("paused") and served()["bid_micros"] == 500, deadline_s=20)
    assert api.client.get("/api/v1/decisions/d1").json()["kind"] == "pause"
    assert api.client.get("/readyz").json()["parts"]["log"] == "ok"
