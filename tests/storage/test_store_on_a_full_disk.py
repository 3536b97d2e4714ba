"""A full disk under ClickHouse, and kills meanwhile: once there is room again nothing is missing; and the command that
says so while the store runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.local_log import LocalLog
from storage.client import connect
from tests.storage.small_flow import SmallFlow, events
from tests.storage.test_full_disk import leave_free, small_disk
from tests.storage.test_store_process import ROOT, STORED, WINDOWS, Processes, totals, until
from tests.support.chdb_service import ChdbService

__all__ = ["small_disk"]


class OnSmallDisk(Processes):
    """ClickHouse's files are on the small disk, the log is elsewhere."""

    def __init__(self, data_dir: Path, disk: Path) -> None:
        self.data_dir = data_dir
        self.disk = disk
        self.service = ChdbService(disk)
        self.log = LocalLog(data_dir / "log", partitions=1)
        self.flow = SmallFlow(self.log)
        self._store: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PENSTOCK_DATA_DIR": str(self.data_dir),
            "PENSTOCK_CLICKHOUSE": self.service.url("penstock"),
            "PENSTOCK_PARTITIONS": "1",
        }

    def start_store(self) -> None:
        with (self.data_dir / "store.log").open("ab") as out:
            self._store = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "store"], cwd=ROOT, env=self.environment(), stdout=out, stderr=out
            )

    def verify(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "doctor", "--verify", *options]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment() | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=120
        )


@pytest.fixture
def processes(tmp_path: Path, small_disk: Path) -> Iterator[OnSmallDisk]:
    running = OnSmallDisk(tmp_path, small_disk)
    yield running
    running.close()


@pytest.mark.parametrize("free_kib", [0, 700])
def test_a_full_disk_and_kills_meanwhile_lose_nothing(processes: OnSmallDisk, free_kib: int) -> None:
    rng = random.Random(free_kib)
    processes.service.start()
    processes.start_store()
    given = events(2_000, seed=1)
    processes.flow.send(given)
    until(lambda: processes.rows(STORED) == totals(given), "the first events are stored")
    leave_free(processes.disk, free_kib * 1_024)
    for round_ in range(6):
        more = events(1_500, seed=100 + round_)
        processes.flow.send(more)
        given += more
        processes.flow.report()
        time.sleep(rng.uniform(0.2, 1.0))
        if round_ == 2:
            processes.end_store(signal.SIGKILL)
            processes.start_store()
        if round_ == 4:
            processes.service.kill()
    (processes.disk / "filler").unlink()
    processes.service.start()
    until(lambda: processes.rows(STORED) == totals(given), "every event once")
    until(lambda: processes.rows(WINDOWS) == [totals(given)[0][2:]], "windows add up to the events")
    daily = "SELECT sum(spend_micros), sum(revenue_micros) FROM kpi_daily"
    assert processes.rows(daily) == [totals(given)[0][2:]]


def test_verify_finds_what_is_missing_and_repairs_it_while_the_store_runs(processes: OnSmallDisk) -> None:
    processes.service.start()
    processes.start_store()
    given = events(600)
    processes.flow.send(given)
    processes.flow.report()
    until(lambda: processes.rows(STORED) == totals(given), "everything is stored")
    until(lambda: processes.rows(WINDOWS) == [totals(given)[0][2:]], "windows are stored")
    well = processes.verify()
    assert (well.returncode, "600 events of 3 campaign days compared: 0 were missing" in well.stdout) == (0, True)
    # The audit of the store would repair it, too.
    processes.end_store(signal.SIGTERM)
    with connect(processes.service.url("penstock")) as client:
        client.command("DELETE FROM events WHERE campaign_id = 'c1'")
    dry = processes.verify("--dry-run")
    assert dry.returncode == 1
    assert "c1" in dry.stdout
    assert "differs" in dry.stdout
    processes.start_store()
    mended = processes.verify("--from", "2026-03-02", "--to", "2026-03-03")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert processes.rows(STORED) == totals(given)
    processes.service.kill()
    away = processes.verify()
    assert (away.returncode, away.stderr.count("\n"), "Traceback" in away.stderr) == (3, 1, False), away.stderr
