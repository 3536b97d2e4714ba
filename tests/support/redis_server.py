"""A real Redis for tests: `redis-server` on a free port, in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.needs import need
from tests.support.ports import free_ports

_WATCH = Path(__file__).with_name("watch.py")
_START_S = 10.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis that ends with the context, or with this process."""
    need(shutil.which("redis-server") is not None, "redis-server is not installed")
    (port,) = free_ports(1)
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen(
        [sys.executable, str(_WATCH), str(os.getpid()), "redis-server", *options],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port, server)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return
