"""`penstock store` and the chDB service as processes, killed and away: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.local_log import LocalLog
from schemas import topics
from schemas.events import Event
from schemas.live import StoreStatus, decode_live
from storage.client import connect
from tests.storage.small_flow import SmallFlow, events
from tests.support.chdb_service import ChdbService

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class Processes:
    """A data directory with a log, the chDB service and the store on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.service = ChdbService(data_dir)
        self.log = LocalLog(data_dir / "log", partitions=1)
        self.flow = SmallFlow(self.log)
        self._store: subprocess.Popen[bytes] | None = None

    def start_store(self) -> None:
        environment = os.environ | {
            "PENSTOCK_DATA_DIR": str(self.data_dir),
            "PENSTOCK_CLICKHOUSE_PORT": str(self.service.port),
            "PENSTOCK_PARTITIONS": "1",
        }
        with (self.data_dir / "store.log").open("ab") as out:
            self._store = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "store"], cwd=ROOT, env=environment, stdout=out, stderr=out
            )

    def end_store(self, number: signal.Signals) -> int:
        assert self._store is not None
        self._store.send_signal(number)
        return self._store.wait(20)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows; none while the service or its tables are not there."""
        try:
            with connect(self.service.url("penstock"), timeout_s=10) as client:
                return [tuple(row) for row in client.query(query).result_rows]
        except ClickHouseError:
            return []

    def statuses(self) -> list[StoreStatus]:
        chunk = self.log.read(topics.LIVE, 0, self.log.begin(topics.LIVE, 0), 1 << 22)
        records = [] if chunk is None else [decode_live(raw) for raw in chunk.records()]
        return [record for record in records if isinstance(record, StoreStatus)]

    def close(self) -> None:
        if self._store is not None and self._store.poll() is None:
            self.end_store(signal.SIGKILL)
        self.service.kill()
        self.log.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    running = Processes(tmp_path)
    yield running
    running.close()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


STORED = "SELECT count(), uniqExact(event_id), sum(cost_micros), sum(revenue_micros) FROM events_clean"
WINDOWS = "SELECT sum(spend_micros), sum(revenue_micros) FROM kpi_hourly"


def totals(given: list[Event]) -> list[tuple[int, ...]]:
    spend, revenue = sum(e.cost_micros for e in given), sum(e.revenue_micros for e in given)
    return [(len(given), len(given), spend, revenue)]


def test_kills_of_both_at_any_moment_change_no_total(processes: Processes) -> None:
    rng = random.Random(20)
    given: list[Event] = []
    processes.service.start()
    processes.start_store()
    for kill in ("store", "service", "store", "service", "both", "store"):
        for _ in range(3):
            some = events(300, seed=rng.randrange(1 << 30))
            # Every third event comes twice.
            processes.flow.send([*some, *some[::3]], parts=2)
            given += some
        processes.flow.report()
        # The moment of the kill, anywhere in the second between two inserts.
        time.sleep(rng.uniform(0.0, 1.2))
        if kill in ("store", "both"):
            processes.end_store(signal.SIGKILL)
        if kill in ("service", "both"):
            processes.service.kill()
            processes.service.start()
        if kill in ("store", "both"):
            processes.start_store()
    until(lambda: processes.rows(STORED) == totals(given), "every event once")
    until(lambda: processes.rows(WINDOWS) == [totals(given)[0][2:]], "windows add up to the events")


def test_clickhouse_away_stops_nothing_but_the_writing(processes: Processes) -> None:
    processes.start_store()
    given = events(500)
    processes.flow.send(given)
    processes.flow.report()
    until(lambda: any(status.state == "down" for status in processes.statuses()), "the store says that it is down")
    down = next(status for status in processes.statuses() if status.state == "down")
    assert down.error is not None
    until(lambda: max(status.lag_records for status in processes.statuses()) > 0, "the lag is told")
    processes.service.start()
    until(lambda: processes.rows(STORED) == totals(given), "it catches up")
    until(lambda: processes.statuses()[-1].state == "ok", "it says that all is well")
    assert processes.statuses()[-1].error is None
    assert processes.end_store(signal.SIGTERM) == 0


def test_what_the_service_acknowledged_survives_its_kill(tmp_path: Path) -> None:
    service = ChdbService(tmp_path)
    service.start()
    try:
        with connect(service.url("penstock")) as client:
            client.command("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1")
            for n in range(20):
                client.insert("t", [[n]], column_names=["n"])
        service.kill()
        service.start()
        with connect(service.url("penstock")) as client:
            assert client.query("SELECT count(), sum(n) FROM t").result_rows == [(20, 190)]
    finally:
        service.kill()
