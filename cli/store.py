"""`penstock store`: the log into ClickHouse, serving state into Redis."""

from __future__ import annotations

import signal
import threading
from contextlib import closing

from cli.logs import set_up
from cli.settings import Settings


def store() -> None:
    """Write events, KPIs, decisions and dead letters into ClickHouse, and serving state into Redis, until stopped."""
    from cli.progress import reporting
    from cli.telemetry import telemetry
    from cli.wiring import clickhouse_url, open_log, reach_of
    from schemas.health import Progress
    from storage.store.run import run

    settings = Settings()
    set_up("store", settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    if settings.metrics_port:
        from prometheus_client import start_http_server

        start_http_server(settings.metrics_port + 100, addr=settings.host)
    log = open_log(settings)
    progress = Progress(starting="opens its feeds")
    with closing(log), telemetry("store", settings), reporting(settings.data_dir, "store", progress) as reporter:
        reporter.tell_on(log)
        run(
            log,
            clickhouse_url(settings),
            raw_ttl_days=settings.raw_ttl_days,
            window_ttl_days=settings.window_ttl_days,
            stop=stop,
            redis_url=settings.redis,
            progress=progress,
            audit_whole=settings.raw_ttl_days * 24 > settings.log_retention_hours,
            reach=lambda: reach_of(log),
        )
