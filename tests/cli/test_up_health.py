"""`penstock up` with real processes: whoever freezes is named by /readyz, started again, and nothing is hidden."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from storage import run_folder
from tests.support.ports import free_ports

PATIENCE_S = 200.0


class Up:
    """A running `penstock up`."""

    def __init__(
        self, folder: Path, program: Sequence[str] = (sys.executable, "-m", "cli.main"), **variables: str
    ) -> None:
        api, clickhouse = free_ports(2)
        self.url = f"http://127.0.0.1:{api}"
        self.folder = folder
        own = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environment = own | {
            "PENSTOCK_DATA_DIR": str(folder),
            "PENSTOCK_PORT": str(api),
            "PENSTOCK_CLICKHOUSE_PORT": str(clickhouse),
            "PENSTOCK_STUCK_SECONDS": "8",
            **variables,
        }
        folder.mkdir(exist_ok=True)
        self._said = (folder / "up.txt").open("ab")
        self.process = subprocess.Popen([*program, "up"], env=self.environment, stdout=self._said, stderr=self._said)

    @property
    def said(self) -> str:
        return " ".join((self.folder / "up.txt").read_text().split())

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, f"{self.said}\n{self.ready()}"
            time.sleep(0.1)

    def ready(self) -> tuple[int, dict[str, str]]:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return answer.status, json.load(answer)["parts"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["parts"]
        except OSError:
            return 0, {}

    def pid(self, process: str) -> int:
        """Of a child, by its command line."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                continue
            if parent == self.process.pid and any(word.startswith(process.encode()) for word in words):
                return int(entry.name)
        return 0

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._said.close()


@pytest.fixture
def ups() -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def start(folder: Path, **variables: Any) -> Up:
        made.append(Up(folder, **variables))
        return made[-1]

    yield start
    for up in made:
        if up.process.poll() is None:
            up.end()


def doctor(up: Up) -> str:
    command = [sys.executable, "-m", "cli.main", "doctor"]
    wide = up.environment | {"COLUMNS": "300"}
    return subprocess.run(command, env=wide, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_frozen_part_is_named_everywhere_and_started_again(ups: Callable[..., Up], tmp_path: Path) -> None:
    up = ups(tmp_path / "data")
    up.until(lambda: "Penstock runs" in up.said and up.ready()[0] == 200)
    parts: dict[str, Any] = up.ready()[1]
    assert {"log", "control", "serving", "flow", "store", "actuate", "clickhouse"} <= set(parts)
    for process in ("flow", "clickhouse"):
        frozen = up.pid(process)
        assert frozen
        os.kill(frozen, signal.SIGSTOP)
        up.until(lambda process=process: up.ready()[0] == 503 and up.ready()[1][process] != "ok")  # type: ignore[misc]
        assert "halted" in up.ready()[1][process]
        assert "halted" in doctor(up)
        up.until(lambda process=process, frozen=frozen: up.pid(process) not in (0, frozen))  # type: ignore[misc]
        assert f"{process} is stuck and is started again" in up.said
        up.until(lambda: up.ready()[0] == 200)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_flow_that_cannot_run_is_told_in_one_sentence(ups: Callable[..., Up], tmp_path: Path) -> None:
    first = ups(tmp_path / "data")
    first.until(lambda: "Penstock runs" in first.said)
    first.end()
    (tmp_path / "data" / "up.txt").unlink()
    up = ups(tmp_path / "data", PENSTOCK_SHARDS="2")
    up.until(lambda: "Penstock runs, but flow does not" in up.said)
    reason = up.said[up.said.index("but flow does not") :]
    assert "shards" in reason
    assert "Traceback" not in up.said
    status, parts = up.ready()
    assert status == 503
    assert "shards" in parts["flow"]
    assert "shards" in doctor(up)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_frozen_process_of_a_cluster_is_started_again_with_the_others(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment = own | {"PENSTOCK_DATA_DIR": str(tmp_path), "PENSTOCK_SHARDS": "2", "PENSTOCK_STUCK_SECONDS": "6"}
    command = [sys.executable, "-m", "cli.main", "flow", "--processes", "2"]
    said = tmp_path / "said.txt"
    with said.open("wb") as file:
        flow = subprocess.Popen(command, env=environment, stdout=file, stderr=file)

    def pid(other_than: int = 0) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert flow.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            found = run_folder.read(run_folder.run_folder(tmp_path), "flow-1")
            if found is not None and found[0].state == "running" and found[0].pid != other_than:
                return found[0].pid
            time.sleep(0.1)

    try:
        frozen = pid()
        os.kill(frozen, signal.SIGSTOP)
        assert pid(other_than=frozen)
        # Process 0 waits for the frozen one: which of the two is seen first is a matter of moments.
        assert re.search(
            r"process [01] of the flow is stuck: (has not reported for|its dataflow loop)", said.read_text()
        )
    finally:
        flow.terminate()
        flow.wait(60)
