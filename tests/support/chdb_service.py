"""`penstock clickhouse` as a process of its own: started, ended, killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import psutil

from storage.password import kept_password
from tests.support.ports import free_ports

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 60.0


class ChdbService:
    """The service on a data directory and a port of its own; stays on both over restarts."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        (self.port,) = free_ports(1)
        self.data_dir = data_dir
        self._given = settings.get("clickhouse_password", "")
        self._environment = os.environ | {
            "PENSTOCK_DATA_DIR": str(data_dir),
            "PENSTOCK_CLICKHOUSE_PORT": str(self.port),
            **{f"PENSTOCK_{name.upper()}": value for name, value in settings.items()},
        }
        self._log = data_dir / "clickhouse.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """http://127.0.0.1:port"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """The password of `default`."""
        return self._given or kept_password(self.data_dir)

    def url(self, database: str, user: str = "default") -> str:
        """The URL of a database for `storage.client.connect`; `analyst` has no password."""
        secret = f":{quote(self.password, safe='')}" if user == "default" else ""
        return f"http://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def headers(self, user: str = "default") -> dict[str, str]:
        """The headers by which a user makes himself known; `analyst` has no password."""
        return {"X-ClickHouse-User": user, "X-ClickHouse-Key": self.password if user == "default" else ""}

    @property
    def pid(self) -> int:
        """The process that serves: the watcher's child."""
        if self._process is None:
            raise RuntimeError("the service does not run")
        return int(psutil.Process(self._process.pid).children()[0].pid)

    def start(self) -> None:
        """Start it and wait until it answers."""
        # It ends with this process, however that ends.
        watch = [sys.executable, str(Path(__file__).with_name("watch.py")), str(os.getpid())]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*watch, sys.executable, "-m", "cli.main", "clickhouse"],
                cwd=_ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._until_port_is_free()
        self._process = None

    def _until_port_is_free(self) -> None:
        """The service is a grandchild: it may outlive the watcher that was waited for by a moment."""
        deadline = time.monotonic() + _START_S
        while True:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.port))
                    return
                except OSError:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/ping", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
