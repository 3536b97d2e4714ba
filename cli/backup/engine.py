"""A connection to the tables: the chDB service that runs, else one of our own for the time being."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cli.backup.manifest import BackupError
from cli.itself import itself

_START_S: Final = 60.0
_END_S: Final = 30.0
# Tables of years are read in one answer.
_ANSWER_S: Final = 3_600


@contextmanager
def running(url: str, port: int, data_dir: Path) -> Iterator[Any]:
    """A client of the service on `port`; when nobody answers there, of one that ends with the context."""
    from storage.client import connect

    if _answers(port):
        with connect(url, timeout_s=_ANSWER_S) as client:
            yield client
    else:
        with own_service(data_dir) as client:
            yield client


@contextmanager
def own_service(data_dir: Path, *, password: str = "", prepared: bool = False) -> Iterator[Any]:
    """A chDB service of our own on the data folder. `prepared`: with all tables made. Raises BackupError."""
    from storage.client import connect, service_url
    from storage.password import kept_password
    from storage.schema import prepare

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PENSTOCK_DATA_DIR": str(data_dir),
        "PENSTOCK_CLICKHOUSE_PORT": str(port),
        "PENSTOCK_CLICKHOUSE_PASSWORD": password,
        "PENSTOCK_CLICKHOUSE": "",
    }
    command = itself("clickhouse")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as service:
        try:
            _wait(service, port)
            url = service_url(port, password or kept_password(data_dir))
            client = (
                prepare(url, raw_ttl_days=90, window_ttl_days=1_826) if prepared else connect(url, timeout_s=_ANSWER_S)
            )
            with client:
                yield client
        finally:
            service.terminate()
            try:
                service.wait(_END_S)
            except subprocess.TimeoutExpired:
                service.kill()


def _wait(service: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while not _answers(port):
        if service.poll() is not None:
            said = service.stderr.read().decode(errors="replace")[-500:] if service.stderr is not None else ""
            raise BackupError(f"the chDB service did not start: {said.strip()}")
        if time.monotonic() > deadline:
            raise BackupError(f"the chDB service did not answer within {_START_S:.0f} s")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
