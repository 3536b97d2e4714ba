"""The embedded stack in a folder of its own, as `penstock up` runs it, for measurements."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.itself import itself

READY_WITHIN_S: Final = 120.0
END_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack. `processes` by name, for their memory and CPU."""

    url: str
    data_dir: Path
    clickhouse_url: str
    processes: Mapping[str, subprocess.Popen[bytes]]
    environment: Mapping[str, str]

    @contextmanager
    def also(self, parts: Sequence[str]) -> Iterator[None]:
        """More parts for a while."""
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            _start(processes, parts, self.data_dir, self.environment)
            yield
        finally:
            _end(processes)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def stack(
    data_dir: Path,
    parts: Sequence[str] = ("clickhouse", "api", "flow", "store"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Start the parts on free ports, wait until the api is ready, end them afterwards.

    `environment`: further variables, such as PENSTOCK_KAFKA; those of this process that begin with PENSTOCK_ are left
    out.
    """
    port, clickhouse_port = free_port(), free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
        "PENSTOCK_DATA_DIR": str(data_dir),
        "PENSTOCK_PORT": str(port),
        "PENSTOCK_CLICKHOUSE_PORT": str(clickhouse_port),
        **(environment or {}),
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        _start(processes, parts, data_dir, variables)
        url = f"http://127.0.0.1:{port}"
        _until_ready(f"{url}/readyz?parts=log,control,serving", processes, data_dir)
        yield Stack(url, data_dir, f"http://127.0.0.1:{clickhouse_port}", processes, variables)
    finally:
        _end(processes)


def _start(
    processes: dict[str, subprocess.Popen[bytes]], parts: Sequence[str], data_dir: Path, variables: Mapping[str, str]
) -> None:
    for part in parts:
        with (data_dir / f"{part}.log").open("ab") as log:
            processes[part] = subprocess.Popen(itself(part), env=dict(variables), stdout=log, stderr=log)


def _until_ready(url: str, processes: Mapping[str, subprocess.Popen[bytes]], data_dir: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                tail = (data_dir / f"{name}.log").read_text()[-2_000:]
                raise RuntimeError(f"{name} ended with code {process.returncode}:\n{tail}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} was not ready in {READY_WITHIN_S:.0f} s")
        time.sleep(0.1)


def _end(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + END_WITHIN_S
    for process in processes.values():
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
