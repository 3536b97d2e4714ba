"""The main job on real input: real ad logs in, KPIs in ClickHouse, a pause at the budget, all of it in a browser."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from benchmarks.stack import Stack
from tests.support.needs import shared_data

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]
ADVERTISER = "2821"


def until(condition: Callable[[], Any], within_s: float = 90.0) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)
    return found


def penstock(stack: Stack, *words: str) -> str:
    """Run a command against the stack; its standard output."""
    environment = {**os.environ, "PENSTOCK_DATA_DIR": str(stack.data_dir)}
    command = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(stack: Stack, sql: str) -> list[dict[str, Any]]:
    """Rows as an analyst gets them."""
    answer = httpx.post(
        stack.clickhouse_url,
        params={"user": "analyst", "default_format": "JSONEachRow"},
        content=sql,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def records(path: Path) -> Iterator[list[str]]:
    """Rows of an iPinYou log, read by nothing of ours."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def test_the_real_day_has_the_same_totals_in_clickhouse_as_in_the_files(embedded: Stack) -> None:
    impressions = shared_data("ipinyou/raw/imp.20131021.adv2821.limit1000.txt.gz")
    clicks = shared_data("ipinyou/raw/clk.20131021.adv2821.txt")
    expected = {
        "impressions": sum(1 for _ in records(impressions)),
        "clicks": sum(1 for _ in records(clicks)),
        # A paying price of p fen per thousand impressions is 10 p micros of a yuan an impression.
        "spend_micros": sum(10 * int(row[20]) for row in records(impressions)),
    }
    penstock(embedded, "replay", str(impressions), str(clicks), "--format", "ipinyou", "--url", embedded.url)

    raw = (
        "SELECT countIf(type = 'impression') AS impressions, countIf(type = 'click') AS clicks, "
        f"sum(cost_micros) AS spend_micros FROM events_clean WHERE campaign_id = '{ADVERTISER}'"
    )
    until(lambda: ask(embedded, raw) == [expected])
    for view in ("kpi_minutely", "kpi_hourly", "kpi_daily"):
        windows = (
            "SELECT sum(impressions) AS impressions, sum(clicks) AS clicks, sum(spend_micros) AS spend_micros "
            f"FROM {view} WHERE campaign_id = '{ADVERTISER}'"
        )
        until(lambda sql=windows: ask(embedded, sql) == [expected])


@pytest.fixture
def campaign(embedded: Stack, tmp_path: Path) -> str:
    """A campaign with a daily budget of half a yuan, put from a file as a user would."""
    path = tmp_path / "campaign.json"
    definition = {
        "id": "auctions-2997", "name": "Auctions", "currency": "CNY", "time_zone": "Asia/Shanghai",
        "daily_budget_micros": 500_000, "bidding": {"strategy": "manual", "bid_micros": 900_000, "pacing": "asap"},
    }  # fmt: skip
    path.write_text(json.dumps(definition))
    penstock(embedded, "campaign", "put", str(path))
    return "auctions-2997"


def test_real_auctions_are_bought_until_the_budget_and_a_browser_sees_the_pause(embedded: Stack, campaign: str) -> None:
    auctions = shared_data("ipinyou/auctions/2997.txt.gz")
    serving = f"{embedded.url}/api/v1/campaigns/{campaign}/serving"
    until(lambda: httpx.get(serving).status_code == 200 and httpx.get(serving).json()["bid_micros"] == 900_000)
    address = embedded.url.replace("http", "ws", 1) + "/api/v1/live"
    with connect(address, subprotocols=["penstock.live.1"], max_size=None) as browser:  # type: ignore[list-item]
        said = json.loads(
            penstock(
                embedded, "replay", "auctions", str(auctions), "--campaign", campaign, "--budget-micros", "500000",
                "--url", embedded.url, "--rate", "3000", "--resume-wait", "1", "--json",
            ).splitlines()[-1]
        )  # fmt: skip
        row = until(lambda: _paused_row(browser, campaign))
    assert row["reason"] == "daily_budget_reached"
    [budget] = row["budgets"]
    assert budget["spent_micros"] >= 500_000

    [pause] = [d for d in _decisions(embedded, campaign) if d["kind"] == "pause"]
    # The pause names the very event that reached the budget: what was spent then is the budget plus less than one bid.
    assert 500_000 <= pause["inputs"]["spend_micros"] < 500_000 + 900
    spent = f"SELECT sum(cost_micros) AS spent FROM events_clean WHERE campaign_id = '{campaign}'"
    until(lambda: ask(embedded, spent) == [{"spent": said["spent_micros"]}])
    stored = f"SELECT count() AS n FROM decisions WHERE decision_id = '{pause['decision_id']}'"
    until(lambda: ask(embedded, stored)[0]["n"] >= 1)


def test_a_raised_budget_resumes_at_once(embedded: Stack) -> None:
    address = f"{embedded.url}/api/v1/campaigns/raised"
    definition = {"campaign_id": "raised", "name": "Raised", "currency": "EUR", "daily_budget_micros": 500_000}
    assert httpx.put(address, json=definition).status_code in (200, 201)
    event = {
        "event_id": "raised-1", "type": "impression", "ts": time.time_ns() // 1_000_000, "campaign_id": "raised",
        "cost_micros": 600_000,
    }  # fmt: skip
    assert httpx.post(f"{embedded.url}/api/v1/events", json=event).status_code == 202
    until(lambda: [d for d in _decisions(embedded, "raised") if d["kind"] == "pause"])
    answer = httpx.patch(address, json={"daily_budget_micros": 900_000_000})
    assert answer.status_code == 200, answer.text
    resume = until(lambda: [d for d in _decisions(embedded, "raised") if d["kind"] == "resume"])[0]
    assert resume["reason"] == "budget_raised"
    assert httpx.get(f"{address}/serving").json()["paused"] is False


def _paused_row(browser: Any, campaign: str) -> dict[str, Any] | None:
    frame = json.loads(browser.recv(timeout=30))
    rows = [row for row in frame.get("rows", ()) if row["id"] == campaign and row["state"] == "paused"]
    return rows[-1] if rows else None


def _decisions(stack: Stack, campaign: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{stack.url}/api/v1/decisions", params={"campaign_id": campaign}).json()
    found: list[dict[str, Any]] = answer["decisions"] if isinstance(answer, dict) else answer
    return found
