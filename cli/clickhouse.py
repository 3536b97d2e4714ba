"""`penstock clickhouse`: the embedded ClickHouse engine behind ClickHouse's HTTP interface."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.itself import itself
from cli.logs import refuse, set_up
from cli.private import keep_private
from cli.settings import Settings


def clickhouse() -> None:
    """Serve chDB on 127.0.0.1 over ClickHouse's HTTP interface: users `default` (everything) and `analyst` (reads)."""
    from storage.password import kept_password
    from storage.service.process import Orders, analysts_of, clean_environment, handed_over

    settings = Settings()
    try:
        keep_private(settings.data_dir)
        orders = Orders(
            data_dir=str(settings.data_dir.absolute()),
            port=settings.clickhouse_port,
            password=settings.clickhouse_password or kept_password(settings.data_dir),
            analyst_password=settings.clickhouse_analyst_password,
            analyst_is_closed=_closed(settings),
            analysts=analysts_of(settings.clickhouse_analysts),
        )
        descriptor = handed_over(orders)
    except ValueError as error:
        refuse("clickhouse", settings, error)
        raise typer.Exit(1) from None
    except OSError as error:
        refuse("clickhouse", settings, f"{settings.data_dir}: {error.strerror}")
        raise typer.Exit(1) from None
    # The same process, started anew: what it was started with holds no secret.
    command = itself("clickhouse-service", str(descriptor))
    os.execve(sys.executable, command, clean_environment(os.environ, orders))  # noqa: S606


def _closed(settings: Settings) -> str:
    """Why `analyst`, who sees every organisation's rows, is closed; empty: he is not."""
    from api.auth import ApiKeys

    if len(ApiKeys.parse(settings.api_keys).organisations) < 2 or settings.clickhouse_analyst_password:
        return ""
    return (
        "there are several organisations: set PENSTOCK_CLICKHOUSE_ANALYSTS for analysts of one, or "
        "PENSTOCK_CLICKHOUSE_ANALYST_PASSWORD for one who sees all."
    )


def clickhouse_service(descriptor: Annotated[int, typer.Argument(hidden=True)]) -> None:
    """What `penstock clickhouse` becomes: it is told all it needs through a pipe, and touches its own folder only."""
    from cli.progress import end_by_return, reporting
    from schemas.health import Progress
    from storage.run_folder import run_folder
    from storage.service.process import received_orders
    from storage.service.server import listening, serve

    # Nothing but how to log: the rest of the environment was left behind.
    settings = Settings()
    set_up("clickhouse", settings)
    orders = received_orders(descriptor)
    data_dir = Path(orders.data_dir)
    progress = Progress(starting="opens its tables")
    end_by_return()
    try:
        with reporting(data_dir, "clickhouse", progress):
            # The port first: a second service must not get as far as the data.
            serve(orders, listening(orders.port), progress, also_writable=(run_folder(data_dir),))
    except OSError as error:
        refuse("clickhouse", settings, f"{error.filename or f'port {orders.port}'}: {error.strerror}")
        raise typer.Exit(1) from None
    except RuntimeError as error:
        refuse("clickhouse", settings, f"{orders.path} cannot be opened; does another process use it? {error}")
        raise typer.Exit(1) from None
