"""Corrections through the whole stack: api, flow, store and ClickHouse, each a process, one of them killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.stack import Stack, stack
from cli.itself import itself
from tests.end_to_end import test_main_job

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]
DAY_MS = 86_400_000
REMEMBERED = 1_024
UNIT = 1_000_000


def until(condition: Callable[[], Any]) -> Any:
    """A machine that has yet to compile the kernels takes two minutes before it decides anything."""
    return test_main_job.until(condition, within_s=300.0)


def ask(running: Stack, sql: str) -> list[dict[str, Any]]:
    """Rows as an analyst gets them; none before the store has made its tables."""
    try:
        return test_main_job.ask(running, sql)
    except AssertionError as error:
        if "UNKNOWN_TABLE" in str(error):
            return []
        raise


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack without its store, with a flow that remembers few events."""
    environment = {"PENSTOCK_DEDUPE_IDS": str(REMEMBERED), "PENSTOCK_PARTITIONS": "2"}
    folder = tmp_path_factory.mktemp("corrected")
    with stack(folder, ("clickhouse", "api", "flow"), environment) as started:
        yield started


class StoreProcess:
    """`penstock store`, which is killed and started again."""

    def __init__(self, running: Stack) -> None:
        self._running = running
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._running.data_dir / "store.log").open("ab") as log:
            self._process = subprocess.Popen(
                itself("store"), env=dict(self._running.environment), stdout=log, stderr=log
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)


@pytest.fixture
def store(running: Stack) -> Iterator[StoreProcess]:
    process = StoreProcess(running)
    process.start()
    yield process
    process.kill()


def send(running: Stack, events: list[dict[str, Any]]) -> None:
    for start in range(0, len(events), 2_000):
        answer = httpx.post(f"{running.url}/api/v1/events", json=events[start : start + 2_000], timeout=60)
        assert answer.status_code == 202, answer.text


def define(running: Stack, campaign: str, **fields: Any) -> None:
    definition = {"name": campaign, "currency": "EUR", **fields}
    answer = httpx.put(f"{running.url}/api/v1/campaigns/{campaign}", json=definition, timeout=30)
    assert answer.status_code == 200, answer.text


def impressions(campaign: str, count: int, begin_ms: int, *, seed: int, step_ms: int = 1_000) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {"event_id": f"{campaign}-{seed}-{n}", "type": "impression", "campaign_id": campaign, "country": "DE",
         "ts": begin_ms + n * step_ms, "cost_micros": rng.randrange(1, 9_000), "user_id": f"u{rng.randrange(99)}"}
        for n in range(count)
    ]  # fmt: skip


def spent(running: Stack, campaign: str) -> int:
    sql = f"SELECT toString(sum(spend_micros)) AS spent FROM kpi_daily WHERE campaign_id = '{campaign}'"
    return int(next(iter(ask(running, sql)), {"spent": 0})["spent"])


def test_what_comes_again_after_the_memory_counts_once_however_often_the_store_is_killed(
    running: Stack, store: StoreProcess
) -> None:
    define(running, "again")
    now = time.time_ns() // UNIT
    first = impressions("again", 300, now - 1_200_000, seed=1)
    others = impressions("again", 6 * REMEMBERED, now - 600_000, seed=2, step_ms=90)
    send(running, first)
    until(lambda: ask(running, "SELECT count() AS n FROM events WHERE campaign_id = 'again'") == [{"n": 300}])
    send(running, others)
    rng = random.Random(3)
    for part in range(4):
        send(running, first[part * 50 : part * 50 + 50])
        time.sleep(rng.uniform(0.0, 1.0))
        store.kill()
        store.start()
    taken_back = "SELECT count() AS n, uniqExact(event_id) AS ids FROM corrections_clean WHERE campaign_id = 'again'"
    until(lambda: ask(running, taken_back) == [{"n": 200, "ids": 200}])
    expected = sum(event["cost_micros"] for event in [*first, *others])
    until(lambda: spent(running, "again") == expected)
    windows = "SELECT toString(sum(spend_micros)) AS s FROM {} WHERE campaign_id = 'again'"
    for view in ("kpi_minutely", "kpi_hourly", "kpi_hourly_by_series", "kpi_daily_by_series"):
        until(lambda view=view: ask(running, windows.format(view)) == [{"s": str(expected)}])
    # Nothing comes after it.
    time.sleep(3)
    assert ask(running, taken_back) == [{"n": 200, "ids": 200}]
    assert verified(running) == 0


def verified(running: Stack) -> int:
    command = [sys.executable, "-m", "cli.main", "doctor", "--verify", "--dry-run"]
    return subprocess.run(command, env=dict(running.environment), timeout=240, check=False).returncode


def corrections(running: Stack, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "cli.main", "corrections", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=dict(running.environment), timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_platforms_invoice_is_brought_in_once_and_a_paused_campaign_runs_again(
    running: Stack, store: StoreProcess, tmp_path: Path
) -> None:
    now = time.time_ns() // UNIT
    yesterday = now - now % DAY_MS - DAY_MS
    # Midday, so that the day is over and its windows are closed when events of now have come.
    of_yesterday = impressions("billed", 100, yesterday + DAY_MS // 2, seed=4)
    cost = sum(event["cost_micros"] for event in of_yesterday)
    define(running, "billed", total_budget_micros=cost)
    send(running, of_yesterday)
    send(running, impressions("billed", 1, now, seed=5))
    until(lambda: reasons(running)[:1] == [("pause", "total_budget_reached")])
    until(lambda: spent(running, "billed") > 0)
    day = datetime.fromtimestamp(yesterday / 1_000, UTC).strftime("%Y-%m-%d")
    bill = (cost - 100_000) / UNIT
    file = tmp_path / "invoice.csv"
    lines = [f"billed,{day},{bill:.6f},INV-1,less than reported", "of-nobody,2026-03-02,1,INV-2,", "billed,soon,1,x,"]
    file.write_text("campaign_id,day,invoiced,reference,note\n" + "\n".join(lines) + "\n")

    code, told = corrections(running, "import", str(file), "--dry-run")
    assert (code, "1 would be sent" in told, "2 refused" in told) == (1, True, True), told
    both = [subprocess.Popen([sys.executable, "-m", "cli.main", "corrections", "import", str(file)],
                             env=dict(running.environment), stdout=subprocess.PIPE) for _ in range(2)]  # fmt: skip
    for each in both:
        out, _ = each.communicate(timeout=240)
        assert b"line 2\t" in out
    of_day = f"SELECT toString(sum(spend_micros)) AS s FROM kpi_daily WHERE campaign_id = 'billed' AND day = '{day}'"
    until(lambda: ask(running, of_day) == [{"s": str(cost - 100_000)}])
    until(lambda: reasons(running)[:1] == [("resume", "spend_corrected")])
    code, told = corrections(running, "import", str(file))
    assert (code, "1 known" in told) == (1, True), told
    code, told = corrections(running, "list", "--campaign", "billed", "--json")
    (listed,) = [json.loads(line) for line in told.splitlines()]
    assert (listed["spend_micros"], listed["note"], listed["cause"]) == (
        -100_000, "less than reported", "platform_invoice",
    )  # fmt: skip
    assert listed["by"].startswith("cli:")
    totals = httpx.get(
        f"{running.url}/api/v1/corrections/totals", params={"campaign_id": "billed"}, timeout=30
    ).json()  # fmt: skip
    assert totals["difference"]["spend_micros"] == -100_000
    assert totals["reported"]["spend_micros"] - 100_000 == totals["corrected"]["spend_micros"]


def reasons(running: Stack) -> list[tuple[str, str]]:
    """The campaign's pauses and resumes, the newest first."""
    answer = httpx.get(f"{running.url}/api/v1/decisions", params={"campaign_id": "billed"}, timeout=30)
    return [
        (each["kind"], each["reason"]) for each in answer.json()["decisions"] if each["kind"] in ("pause", "resume")
    ]
