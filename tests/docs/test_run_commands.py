"""Every block of commands in README and docs runs, against a stack as `penstock up` starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, Block, blocks, shortened
from tests.support.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docs-commands"), pytest.mark.timeout(600)]

READY_WITHIN_S = 180.0
BLOCK_WITHIN_S = 240.0
# Blocks that other tests run, by their first line: which, or why not.
RUN_ELSEWHERE = {
    "make run     # installs, builds, starts everything with a market simulator; open http://127.0.0.1:8000": (
        "`make test` is what runs this test; `make run` is `penstock up --demo`: tests/cli/test_up.py"
    ),
    "penstock analysts | clickhouse-client --multiquery": "tests/storage/test_grants.py, without a server's client",
    "penstock flow": "tests/cli/test_up.py; beside a running flow it is refused",
    "PENSTOCK_SHARDS=8 penstock flow --processes 4": "tests/cli/test_up_health.py, a cluster that is supervised",
    "penstock state show                   # shards, campaigns, series, ids, how far each partition was read": (
        "tests/cli/test_state.py; beside a running flow it is refused"
    ),
    "penstock corrections import invoice.csv --dry-run   # what would become of each line": (
        "tests/end_to_end/test_corrections.py, with a platform's file"
    ),
    "export PENSTOCK_KAFKA=broker-1:9092,broker-2:9092": "tests/end_to_end/test_production_column.py",
}


class Desk:
    """A folder with `penstock` and `.venv/bin/penstock` on hand, where commands are typed, and a running stack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.clickhouse_port = free_ports(2)
        for place in (folder / "bin", folder / ".venv" / "bin"):
            place.mkdir(parents=True)
            script = place / "penstock"
            script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cli.main "$@"\n')
            script.chmod(0o755)
        own = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environment = own | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PENSTOCK_DATA_DIR": str(folder / ".penstock"),
            "PENSTOCK_PORT": str(self.port),
            "PENSTOCK_CLICKHOUSE_PORT": str(self.clickhouse_port),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """`penstock up`, waited for until it is ready."""
        with (self.folder / "up.log").open("ab") as log:
            up = subprocess.Popen(
                ["penstock", "up"], cwd=self.folder, env=self.environment, stdout=log, stderr=log, executable=str(
                    self.folder / "bin" / "penstock"
                ),
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            assert up.poll() is None, (self.folder / "up.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "up.log").read_text()
            time.sleep(0.2)
        return up

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def type(self, block: Block) -> None:
        """Run a block as a person would; an AssertionError when a command of it fails or an answer is an error."""
        text = shortened(block.text, port=self.port, clickhouse_port=self.clickhouse_port)
        # A curl that is refused ends with 0 unless told otherwise.
        text = text.replace("curl -s ", "curl -sS --fail-with-body ")
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment, timeout=BLOCK_WITHIN_S,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        told = f"{block.page}, block {block.number}:\n{text}\n{ran.stdout[-3_000:]}\n{ran.stderr[-3_000:]}"
        assert ran.returncode == 0, told
        assert "Traceback" not in ran.stderr, told


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("desk"))
    up = made.start()
    yield made
    up.send_signal(signal.SIGTERM)
    up.wait(60)


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"{block.page}-{block.number}")
def test_commands_of_the_docs_run(desk: Desk, block: Block) -> None:
    if block.first_line in RUN_ELSEWHERE:
        assert RUN_ELSEWHERE[block.first_line]
        return
    desk.type(block)


def test_what_is_run_elsewhere_is_still_in_the_docs() -> None:
    gone = set(RUN_ELSEWHERE) - {block.first_line for block in blocks()}
    assert not gone, f"take these out of RUN_ELSEWHERE: {gone}"
