"""`penstock clickhouse`: the embedded ClickHouse engine behind ClickHouse's HTTP interface."""

from __future__ import annotations

import typer

from cli.logs import refuse, set_up
from cli.settings import Settings


def clickhouse() -> None:
    """Serve chDB on 127.0.0.1 over ClickHouse's HTTP interface: users `default` (everything) and `analyst` (reads)."""
    from cli.progress import end_by_return, reporting
    from schemas.health import Progress
    from storage.password import kept_password
    from storage.service.server import serve

    settings = Settings()
    set_up("clickhouse", settings)
    progress = Progress(starting="opens its tables")
    end_by_return()
    try:
        with reporting(settings.data_dir, "clickhouse", progress):
            serve(
                settings.data_dir / "clickhouse",
                settings.clickhouse_port,
                password=settings.clickhouse_password or kept_password(settings.data_dir),
                analyst_password=settings.clickhouse_analyst_password,
                progress=progress,
            )
    except OSError as error:
        refuse("clickhouse", settings, f"port {settings.clickhouse_port}: {error.strerror}")
        raise typer.Exit(1) from None
    except RuntimeError as error:
        folder = settings.data_dir / "clickhouse"
        refuse("clickhouse", settings, f"{folder} cannot be opened; does another process use it? {error}")
        raise typer.Exit(1) from None
