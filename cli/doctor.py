"""`penstock doctor`: checks every configured part and says what to do about what is wrong."""

from __future__ import annotations

import platform
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from cli.settings import Settings

# Below this the log would soon refuse events.
DISK_FREE_MIN: Final = 2 * 2**30
TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked part. `mend` says what to do; empty when all is well."""

    part: str
    ok: bool
    seen: str
    mend: str = ""


def doctor() -> None:
    """Check every configured part; exit 1 when something is wrong."""
    from rich.console import Console
    from rich.table import Table

    findings = examine(Settings())
    table = Table(box=None, pad_edge=False)
    for title in ("", "part", "seen", "what to do"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        table.add_row("ok" if finding.ok else "[bold]WRONG[/]", finding.part, finding.seen, finding.mend)
    Console().print(table)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def examine(settings: Settings) -> list[Finding]:
    """All checks, each bounded by a few seconds."""
    checks: list[Callable[[Settings], Finding]] = [
        check_python, check_data_dir, check_exposure, check_dashboard, check_log, check_clickhouse, check_redis,
        check_database, check_api,
    ]  # fmt: skip
    return [check(settings) for check in checks]


def check_python(_: Settings) -> Finding:
    """Bytewax has wheels for Python 3.11 and 3.12."""
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("Python", good, version, "" if good else "make .venv anew with Python 3.11 or 3.12")


def check_data_dir(settings: Settings) -> Finding:
    """The data folder can be written and its disk has room."""
    folder = settings.data_dir.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        probe = existing / ".penstock-write-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("data folder", False, f"{folder}: {error.strerror}", "choose another with PENSTOCK_DATA_DIR")
    free = shutil.disk_usage(existing).free
    seen = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < DISK_FREE_MIN:
        return Finding("data folder", False, seen, "free some disk, or lower PENSTOCK_LOG_RETENTION_BYTES")
    return Finding("data folder", True, seen)


def check_exposure(settings: Settings) -> Finding:
    """Nobody outside reaches the api without a key."""
    loopback = settings.host in ("127.0.0.1", "::1", "localhost")
    seen = f"{settings.host}:{settings.port}, {'with' if settings.api_keys else 'without'} API keys"
    if loopback or settings.api_keys:
        return Finding("address", True, seen)
    return Finding("address", False, seen, "set PENSTOCK_API_KEYS=key:organisation, or PENSTOCK_HOST=127.0.0.1")


def check_dashboard(_: Settings) -> Finding:
    """The web app is built."""
    page = Path(__file__).resolve().parents[1] / "live_dashboard" / "dist" / "index.html"
    return Finding(
        "dashboard", page.exists(), "built" if page.exists() else "not built", "" if page.exists() else "make dashboard"
    )


def check_log(settings: Settings) -> Finding:
    """The event log opens; with Kafka the topics are there."""
    from cli.wiring import open_log
    from schemas import topics

    kind = f"Kafka at {settings.kafka}" if settings.kafka else f"local log in {settings.data_dir / 'log'}"
    try:
        log = open_log(settings)
        partitions = log.partitions(topics.EVENTS)
        end = sum(log.end(topics.EVENTS, partition) for partition in range(partitions))
        log.close()
    except Exception as error:
        mend = "is the broker up? then `penstock topics create`" if settings.kafka else "see the message"
        return Finding("event log", False, f"{kind}: {error}", mend)
    return Finding("event log", True, f"{kind}, {partitions} partitions, end offsets add up to {end}")


def check_clickhouse(settings: Settings) -> Finding:
    """ClickHouse, or the chDB service, answers."""
    import logging

    from storage.client import connect, service_url

    # What it would log is in the finding.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    url = settings.clickhouse or service_url(settings.clickhouse_port, settings.clickhouse_password)
    try:
        version = connect(url).query("SELECT version()").result_rows[0][0]
    except Exception as error:
        mend = "is the server up and the URL right?" if settings.clickhouse else "start it: `penstock up`"
        return Finding("ClickHouse", False, f"{_without_password(url)}: {_first_line(error)}", mend)
    return Finding("ClickHouse", True, f"{_without_password(url)}, version {version}")


def check_redis(settings: Settings) -> Finding:
    """Redis answers, where it is configured."""
    if not settings.redis:
        return Finding("serving state", True, "memory of the api")
    import redis

    try:
        redis.Redis.from_url(settings.redis, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S).ping()
    except redis.RedisError as error:
        return Finding("serving state", False, f"Redis: {_first_line(error)}", "is Redis up and PENSTOCK_REDIS right?")
    return Finding("serving state", True, f"Redis at {_without_password(settings.redis)}")


def check_database(settings: Settings) -> Finding:
    """The control plane's database opens."""
    import sqlalchemy

    if not settings.database:
        return Finding("control plane", True, f"SQLite in {settings.data_dir}")
    try:
        with sqlalchemy.create_engine(settings.database).connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
    except sqlalchemy.exc.SQLAlchemyError as error:
        return Finding("control plane", False, _first_line(error), "is the database up and PENSTOCK_DATABASE right?")
    return Finding("control plane", True, _without_password(settings.database))


def check_api(settings: Settings) -> Finding:
    """The api runs, or its port is free."""
    from cli.up import api_url

    url = api_url(settings)
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=TIMEOUT_S) as answer:  # noqa: S310
            return Finding("api", True, f"{url} is ready ({answer.status})")
    except urllib.error.HTTPError as error:
        return Finding("api", False, f"{url}: {error.read(500).decode(errors='replace')}", "it says what it waits for")
    except (urllib.error.URLError, OSError):
        pass
    with socket.socket() as probe:
        probe.settimeout(TIMEOUT_S)
        taken = probe.connect_ex(("127.0.0.1", settings.port)) == 0
    if taken:
        return Finding("api", False, f"port {settings.port} is taken by another program", "set PENSTOCK_PORT")
    return Finding("api", True, f"not running; port {settings.port} is free")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


def _without_password(url: str) -> str:
    """The URL with its password hidden, for a screen.

    >>> _without_password("http://me:secret@host:8123/db")
    'http://me:***@host:8123/db'
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)
