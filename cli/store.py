"""`penstock store`: the log into ClickHouse, serving state into Redis."""

from __future__ import annotations

import logging
import signal
import threading

from cli.settings import Settings


def store() -> None:
    """Write events, KPIs, decisions and dead letters into ClickHouse, and serving state into Redis, until stopped."""
    from cli.wiring import clickhouse_url, open_log
    from storage.store.run import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The client warns of every refused connection; the feeds say it once.
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    settings = Settings()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    if settings.metrics_port:
        from prometheus_client import start_http_server

        start_http_server(settings.metrics_port + 100, addr=settings.host)
    log = open_log(settings)
    try:
        run(
            log,
            clickhouse_url(settings),
            raw_ttl_days=settings.raw_ttl_days,
            window_ttl_days=settings.window_ttl_days,
            stop=stop,
            redis_url=settings.redis,
        )
    finally:
        log.close()
