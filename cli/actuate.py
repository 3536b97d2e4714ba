"""`penstock actuate`: decisions into effect on ad platforms."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.logs import refuse, say, set_up
from cli.settings import Settings

if TYPE_CHECKING:
    from ingest.lease import Lease
    from platforms.sender import Credentials
    from schemas.health import Progress
    from schemas.log import Log

METRICS_PORT_STEP: Final = 200


def actuate(
    retry_parked: Annotated[bool, typer.Option(help="Send once more what was parked after a day of failures.")] = False,
) -> None:
    """Take decisions, call ad platforms, record receipts; without credentials platforms run dry."""
    from cli.progress import reporting
    from cli.telemetry import telemetry
    from cli.wiring import open_log
    from ingest.lease import LeaseHeldError
    from platforms.sender import CredentialsError, read_credentials
    from schemas.health import Progress

    settings = Settings()
    set_up("actuate", settings)
    try:
        credentials = read_credentials(settings.credentials)
    except CredentialsError as error:
        raise typer.BadParameter(str(error), param_hint="PENSTOCK_CREDENTIALS") from None
    if settings.metrics_port:
        from prometheus_client import start_http_server

        start_http_server(settings.metrics_port + METRICS_PORT_STEP, addr=settings.host)
    armed = ", ".join(sorted(credentials)) or "none, all platforms run dry"
    say("actuate", settings, f"platforms with credentials: {armed}")
    lease = _lease(settings)
    try:
        log, progress = open_log(settings), Progress()
        with telemetry("actuate", settings), reporting(settings.data_dir, "actuate", progress) as reporter:
            reporter.tell_on(log)
            led_to_the_end = asyncio.run(_run(log, credentials, retry_parked, lease, progress))
    except LeaseHeldError as error:
        refuse("actuate", settings, f"{error}; one is enough.")
        raise typer.Exit(1) from None
    finally:
        lease.release()
    if not led_to_the_end:
        refuse("actuate", settings, "another process has taken over.")
        raise typer.Exit(1)


def _lease(settings: Settings) -> Lease:
    """One process calls the platforms: two would send for one object side by side."""
    from ingest.lease import FileLease, KafkaLease
    from schemas import topics

    if not settings.kafka:
        return FileLease(settings.data_dir / "actuate.lock", "another one")
    prefix = settings.kafka_prefix
    return KafkaLease(settings.kafka, prefix + topics.DECISIONS, f"{prefix}actuate-lease", config=settings.kafka_config)


async def _run(log: Log, credentials: Credentials, retry_parked: bool, lease: Lease, progress: Progress) -> bool:
    """Until a signal; False when another process took over."""
    import httpx

    from platforms.clock import SteadyClock
    from platforms.host import Actuator
    from platforms.outbox import Outbox
    from platforms.registry import ADAPTERS
    from platforms.sender import Sender

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    standby = progress.loop("lease", idles=True)
    standby.waits_for("another process that calls the platforms to end")
    if not await asyncio.to_thread(lease.acquire, lambda: not stop.is_set()):
        return True
    standby.goes_on()
    async with httpx.AsyncClient() as client:
        clock_ms = SteadyClock(_now_ms, time.monotonic)
        sender = Sender(credentials, clock_ms=clock_ms, client=client)
        outbox = Outbox(ADAPTERS, frozenset(credentials))
        actuator = Actuator(log, outbox, sender, clock_ms, lease.held, retry_parked=retry_parked, health=progress)
        await actuator.run(stop)
    return stop.is_set() or lease.held()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
