"""A backup taken while events flow, restored elsewhere, given the events again: it ends as the original did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.stack import Stack, stack
from storage.password import kept_password

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]
EVENTS = 4_000
BATCH = 20
COST_MICROS = 1_000
# Reached by the events that are sent during and after the backup.
BUDGET_MICROS = 3_000 * COST_MICROS


def until(condition: Callable[[], Any], within_s: float = 180.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.2)
    return found


def batch(first: int, ts_ms: int) -> list[dict[str, Any]]:
    return [
        {
            "event_id": f"b{number}",
            "type": "click" if number % 10 == 0 else "impression",
            "ts": ts_ms,
            "campaign_id": f"cmp-{number % 2}",
            "user_id": f"u{number % 97}",
            "cost_micros": COST_MICROS,
        }
        for number in range(first, first + BATCH)
    ]


class Sender(threading.Thread):
    """Sends batches in order, each once acknowledged; `batches` are those that were."""

    def __init__(self, url: str, batches: list[list[dict[str, Any]]], pause_s: float) -> None:
        super().__init__(daemon=True)
        self._url, self._batches, self._pause_s = url, batches, pause_s
        self.sent = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            for events in self._batches:
                while client.post("/api/v1/events", json=events).status_code >= 300:
                    time.sleep(0.2)
                self.sent += 1
                time.sleep(self._pause_s)


def ask(running: Stack, sql: str) -> list[list[Any]]:
    answer = httpx.post(
        running.clickhouse_url,
        params={"database": "penstock", "default_format": "JSONCompactEachRow"},
        auth=("default", kept_password(running.data_dir)),
        content=sql,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def define(running: Stack, name: str) -> None:
    body = {"name": name, "currency": "EUR", "total_budget_micros": BUDGET_MICROS // 2}
    answer = httpx.put(f"{running.url}/api/v1/campaigns/{name}", json=body, timeout=30)
    assert answer.status_code in (200, 201), answer.text


def outcome(running: Stack) -> dict[str, list[list[Any]]]:
    """What an advertiser sees: raw counts, KPI rows, decisions, totals."""
    return {
        "raw": ask(
            running,
            "SELECT campaign_id, type, count(), uniqExact(event_id), sum(cost_micros) FROM events_clean "
            "GROUP BY ALL ORDER BY ALL",
        ),
        "days": ask(
            running,
            "SELECT campaign_id, window_start, impressions, clicks, spend_micros FROM kpi_exact "
            "WHERE level = 'campaign' AND window = 'day' ORDER BY ALL",
        ),
        "decisions": ask(
            running,
            "SELECT campaign_id, kind, reason, decision_id, JSONExtractInt(inputs, 'spend_micros') "
            "FROM decisions_clean ORDER BY ALL",
        ),
    }


def stored(running: Stack) -> int:
    """Events in ClickHouse; 0 before the store has made its tables."""
    if int(ask(running, "SELECT count() FROM system.tables WHERE name = 'events_clean'")[0][0]) == 0:
        return 0
    return int(ask(running, "SELECT uniqExact(event_id) FROM events_clean")[0][0])


def penstock(running: Stack | None, data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(running.environment) if running is not None else dict(os.environ)
    environment["PENSTOCK_DATA_DIR"] = str(data_dir)
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words], capture_output=True, text=True, env=environment, timeout=300
    )


def test_a_backup_taken_while_events_flow_is_restored_and_goes_on_as_the_original_did(tmp_path: Path) -> None:
    ts_ms = time.time_ns() // 1_000_000
    batches = [batch(first, ts_ms) for first in range(0, EVENTS, BATCH)]
    # Short epochs, so that the snapshot in the backup is of the middle of the events.
    settings = {"PENSTOCK_EPOCH_SECONDS": "1"}
    with stack(tmp_path / "original", environment=settings) as original:
        for name in ("cmp-0", "cmp-1"):
            define(original, name)
        sender = Sender(original.url, batches, pause_s=0.1)
        sender.start()
        until(lambda: stored(original) > 500)
        acknowledged = sender.sent * BATCH
        made = penstock(original, original.data_dir, "backup", str(tmp_path / "backup"))
        assert made.returncode == 0, made.stdout + made.stderr
        assert sender.is_alive(), "the backup outlasted the events: nothing flowed after it"
        sender.join()
        until(lambda: stored(original) == EVENTS)
        until(lambda: len(outcome(original)["decisions"]) == 2)
        expected = until(lambda: settled(original))

    manifest = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert manifest["tables"]["events"] > 500
    done = penstock(None, tmp_path / "restored", "restore", str(tmp_path / "backup"))
    assert done.returncode == 0, done.stdout + done.stderr
    with stack(tmp_path / "restored", environment=settings) as restored:
        before = stored(restored)
        until(lambda: stored(restored) >= acknowledged)
        assert before > 500, "what was in the tables is there at once"
        again = Sender(restored.url, batches, pause_s=0.0)
        again.start()
        again.join()
        until(lambda: stored(restored) == EVENTS)
        until(lambda: len(outcome(restored)["decisions"]) == 2)
        assert until(lambda: settled(restored)) == expected
        campaigns = httpx.get(f"{restored.url}/api/v1/campaigns", timeout=30).json()
        assert sorted(one["campaign"]["campaign_id"] for one in campaigns["campaigns"]) == ["cmp-0", "cmp-1"]


def settled(running: Stack) -> dict[str, list[list[Any]]] | None:
    """The outcome, once the day's windows hold every event."""
    found = outcome(running)
    counted = sum(impressions + clicks for _, _, impressions, clicks, _ in found["days"])
    return found if counted == EVENTS else None
