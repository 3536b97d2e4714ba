"""The `penstock` command."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.actuate import actuate
from cli.analysts import analysts
from cli.api import api
from cli.backtest import app as backtest
from cli.backup.command import backup, restore
from cli.bench import app as bench
from cli.campaign import app as campaign
from cli.clickhouse import clickhouse, clickhouse_service
from cli.corrections import app as corrections
from cli.demo import demo
from cli.dlq import app as dlq
from cli.doctor.command import doctor
from cli.explain import explain
from cli.flow import flow
from cli.log import app as log
from cli.logs import for_people
from cli.replay import app as replay
from cli.schemas import schemas
from cli.simulate import simulate
from cli.state import app as state
from cli.store import store
from cli.topics import app as topics
from cli.up import up
from penstock import __version__

app = typer.Typer(
    name="penstock",
    help="Real-time streaming and decisioning for advertising.",
    no_args_is_help=True,
    # A plain trace is what logs and `penstock up` can read.
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Commands register below, one module each; a module imports heavy parts inside its command."""
    for_people()


app.command("up")(up)
app.command("clickhouse")(clickhouse)
app.command("analysts")(analysts)
app.command("clickhouse-service", hidden=True)(clickhouse_service)
app.command("store")(store)
app.command("demo")(demo)
app.command("doctor")(doctor)
app.command("explain")(explain)
app.command("actuate")(actuate)
app.command("backup")(backup)
app.command("restore")(restore)
app.command("api")(api)
app.add_typer(campaign, name="campaign")
app.add_typer(corrections, name="corrections")
app.add_typer(dlq, name="dlq")
app.command("flow")(flow)
app.add_typer(backtest, name="backtest")
app.command("simulate")(simulate)
app.command("schemas")(schemas)
app.add_typer(bench, name="bench")
app.add_typer(log, name="log")
app.add_typer(replay, name="replay")
app.add_typer(state, name="state")
app.add_typer(topics, name="topics")

if __name__ == "__main__":
    app()
