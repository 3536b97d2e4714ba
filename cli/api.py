"""`penstock api`: collector, REST, WebSocket and dashboard in one process."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from cli.address import refuse_open_door
from cli.logs import refuse, set_up
from cli.settings import Settings
from penstock import __version__

# Of each organisation where several share an api and nothing is set; an api takes a multiple of it.
SHARED_EVENTS_PER_S: Final = 20_000.0
# At some 40 KiB each 320 MiB; log, databases and threads have files of their own.
CONNECTIONS_MAX: Final = 8_192
OWN_FILES: Final = 512

if TYPE_CHECKING:
    from api.rate_limit import RateLimit
    from control.store import ControlStore
    from ingest.formats.mapping import Mapping as EventMapping
    from schemas.log import Log


def api() -> None:
    """Serve collector, REST, live WebSocket, dashboard and metrics."""
    from api.auth import ApiKeys
    from api.connections import is_among
    from api.landing import LandingHosts
    from api.perimeter import CorsOrigins
    from api.request_ids import request_id
    from api.write_keys import WriteKeys
    from cli.openrtb import openrtb_setup
    from cli.progress import end_by_return, reporting
    from cli.telemetry import telemetry
    from ingest.group_commit import GroupCommit
    from schemas.health import Progress

    settings = Settings()
    set_up("api", settings, lambda: {"request_id": request_id()})
    try:
        keys = ApiKeys.parse(settings.api_keys, WriteKeys.load(settings.write_keys))
        landing_hosts = LandingHosts.parse(settings.landing_hosts)
        cors = CorsOrigins.parse(settings.cors_origins, has_write_keys=bool(keys.writers.pairs))
        refuse_open_door(settings.host, has_keys=bool(keys.pairs))
        is_among(settings.proxies())
        openrtb = openrtb_setup(settings)
        event_mapping = load_mapping(settings)
    except ValueError as error:
        refuse("api", settings, error)
        raise typer.Exit(2) from None
    with ExitStack() as open_parts:
        log, store = _opened(settings, open_parts)
        progress = Progress(starting="opens its routes")
        end_by_return()
        open_parts.enter_context(telemetry("api", settings))
        open_parts.enter_context(reporting(settings.data_dir, "api", progress)).tell_on(log)
        sink = GroupCommit(log, health=progress.loop("append", idles=True))
        open_parts.callback(sink.close)
        _serve(
            settings, log=log, sink=sink, store=store, keys=keys, landing_hosts=landing_hosts, openrtb=openrtb,
            cors=cors, progress=progress, event_mapping=event_mapping,
        )  # fmt: skip


def load_mapping(settings: Settings) -> EventMapping:
    """The shipped mapping of other formats with the setting's file over it; raises ValueError."""
    from ingest.formats.mapping import Mapping as EventMapping

    try:
        return EventMapping.load(settings.event_mapping)
    except ValueError as error:
        raise ValueError(f"PENSTOCK_EVENT_MAPPING: {error}") from None


def _opened(settings: Settings, open_parts: ExitStack) -> tuple[Log, ControlStore]:
    """Log and control store, closed with `open_parts`; exits 1 with one line when either cannot be opened."""
    from sqlalchemy.exc import SQLAlchemyError

    from cli.wiring import open_log
    from control.restore import restore
    from control.store import ControlStore
    from schemas.log import LogUnavailableError

    try:
        log = open_log(settings)
        open_parts.callback(log.close)
        store = ControlStore.open(settings.database, settings.data_dir)
        open_parts.callback(store.close)
        restore(store.engine, log)
    except (ValueError, LogUnavailableError) as error:
        refuse("api", settings, error)
        raise typer.Exit(1) from None
    except SQLAlchemyError as error:
        # Only its kind: the message may hold the address with its password.
        kind = type(error).__name__
        refuse("api", settings, f"the control database failed ({kind}); check PENSTOCK_DATABASE")
        raise typer.Exit(1) from None
    return log, store


def now_ms() -> int:
    """The clock of the collector and the control plane."""
    return time.time_ns() // 1_000_000


def _serve(settings: Settings, *, log: Log, **parts: Any) -> None:
    import uvicorn

    from api.app import create_app
    from api.clickhouse import ClickHouseHistory
    from api.connections import ConnectionLimits, Connections, GuardedWebSocket, guarded, is_among
    from api.parts import ready_parts
    from api.wiring import Wiring
    from cli.wiring import clickhouse_url
    from storage.run_folder import read_all, run_folder

    history = ClickHouseHistory(clickhouse_url(settings))
    wiring = Wiring(
        log=log,
        now_ms=now_ms,
        version=__version__,
        metrics_key=settings.metrics_key,
        kpis=history,
        archive=history,
        corrections=history,
        rate_limit=_rate_limit(settings, len(parts["keys"].organisations)),
        reports=partial(read_all, run_folder(settings.data_dir)),
        ready_parts=ready_parts(settings.ready_parts),
        **parts,
    )
    _measure_disk(settings)
    proxies = settings.proxies()
    uvicorn.run(
        create_app(wiring),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=guarded(Connections(ConnectionLimits(connections_max=_connections_max()), is_among(proxies))),
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        ws=GuardedWebSocket,
        # The longest message that the live protocol allows; deltas are small and frequent, and compress at a loss.
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        access_log=False,
        # Logging is set up already.
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _measure_disk(settings: Settings) -> None:
    """Have disk and log measured whenever somebody asks for metrics."""
    import shutil

    from api import metrics

    metrics.DISK_FREE.set_function(lambda: shutil.disk_usage(settings.data_dir).free)
    metrics.DISK_SIZE.set_function(lambda: shutil.disk_usage(settings.data_dir).total)
    if not settings.kafka:
        metrics.LOG_BYTES.set_function(lambda: folder_bytes(settings.data_dir / "log"))
        metrics.LOG_QUOTA.set(settings.log_retention_bytes)


def folder_bytes(folder: Path) -> int:
    """What the files below a folder hold; those that vanish meanwhile hold nothing."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def _connections_max() -> int:
    """As many as the process may have files open, less what it needs itself; raises its own limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(64, min(CONNECTIONS_MAX, soft - OWN_FILES))


def _rate_limit(settings: Settings, organisations: int) -> RateLimit:
    """Who has an api to itself is limited by its machine; who shares one must not be another's outage."""
    from api.rate_limit import MemoryRateLimit, RedisRateLimit, Unlimited

    rate = settings.events_per_second
    if rate is None:
        rate = SHARED_EVENTS_PER_S if organisations > 1 else 0.0
    if not rate:
        return Unlimited()
    if settings.redis:
        return RedisRateLimit(settings.redis, rate)
    return MemoryRateLimit(rate, time.monotonic)
