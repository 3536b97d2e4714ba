"""`penstock analysts`: statements for a ClickHouse server that keep organisations' analysts to their own rows."""

from __future__ import annotations

import typer

from cli.settings import Settings


def analysts() -> None:
    """Print users, grants and row policies for PENSTOCK_CLICKHOUSE_ANALYSTS, to run on a ClickHouse server."""
    from storage.client import database_of
    from storage.grants import grants
    from storage.service.process import analysts_of

    settings = Settings()
    try:
        known = analysts_of(settings.clickhouse_analysts)
    except ValueError as error:
        typer.echo(f"penstock analysts: {error}", err=True)
        raise typer.Exit(1) from None
    if not known:
        typer.echo("penstock analysts: set PENSTOCK_CLICKHOUSE_ANALYSTS=name:password:organisation,...", err=True)
        raise typer.Exit(1)
    for statement in grants(database_of(settings.clickhouse), known):
        typer.echo(f"{statement};")
