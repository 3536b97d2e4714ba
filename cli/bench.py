"""`penstock bench`: what this machine can do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Measure throughput and latency; write event files to measure with.", no_args_is_help=True)


class Series(StrEnum):
    """How many series the events of a generated file are of."""

    SOME = "some"
    MANY = "many"


_LIMIT = "Also run `bench limit` before and after, and print the ratio to it."


def _beside_limit(file: Path, wanted: bool, measure: Callable[[], Any]) -> None:
    """Print a measurement as one line of JSON; if wanted with the engine's figure of the same run and the ratio."""
    import msgspec

    from benchmarks.limit import beside

    before = beside(file) if wanted else None
    figures = msgspec.to_builtins(measure())
    if before is not None:
        limit = (before.events_per_second + beside(file).events_per_second) / 2
        figures |= {"limit_events_per_second": round(limit), "of_limit": round(figures["events_per_second"] / limit, 3)}
    typer.echo(msgspec.json.encode(figures))


@app.command()
def limit(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Events, one JSON object a line.")],
) -> None:
    """Sum a file with the ClickHouse engine on one thread: what the other figures are ratios of; one line of JSON."""
    import msgspec

    from benchmarks.limit import measure

    typer.echo(msgspec.json.encode(measure(file)))


@app.command()
def kpi(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Events, one JSON object a line.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Where the windows go, as CSV.")],
    window_ms: Annotated[int, typer.Option(min=1, help="Length of a window.")] = 10_000,
    with_limit: Annotated[bool, typer.Option("--limit/--no-limit", help=_LIMIT)] = True,
) -> None:
    """Decode a file and sum it by campaign and tumbling window; prints one line of JSON."""
    from benchmarks.kpi import measure

    _beside_limit(file, with_limit, lambda: measure(file, out, window_ms))


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(dir_okay=False, help="The file to write; compressed when it ends in .gz.")],
    events: Annotated[int, typer.Option(min=1, help="How many.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 1,
    leads_per_mille: Annotated[int, typer.Option(min=0, max=500, help="Leads among 1,000 events.")] = 0,
    duplicates_per_mille: Annotated[int, typer.Option(min=0, max=500, help="Repeated lines among 1,000.")] = 0,
    series: Annotated[
        Series, typer.Option(help="many: nearly every event has a series of its own, in 1,000 campaigns.")
    ] = Series.SOME,
) -> None:
    """Write a file of realistic events."""
    from dataclasses import replace

    from benchmarks.event_files import MANY_SERIES, Market, write_event_file

    kind = MANY_SERIES if series is Series.MANY else Market()
    market = replace(kind, leads_per_mille=leads_per_mille, duplicates_per_mille=duplicates_per_mille)
    written = write_event_file(out, events, seed, market)
    typer.echo(f"{out}: {events} events, {written} bytes")


@app.command()
def generate_auctions(
    out: Annotated[Path, typer.Argument(dir_okay=False, help="The file to write; compressed when it ends in .gz.")],
    auctions: Annotated[int, typer.Option(min=1, help="How many.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 1,
) -> None:
    """Write a file of second-price auctions, as `replay auctions` and `backtest bidding` read them."""
    from benchmarks.auction_files import write_auction_file

    typer.echo(f"{out}: {auctions} auctions, {write_auction_file(out, auctions, seed)} bytes")


@app.command()
def pipeline(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Events, one JSON object a line.")],
    epoch_seconds: Annotated[float, typer.Option(min=0.01, help="Time between two snapshots.")] = 1.0,
    shards: Annotated[int, typer.Option(min=1, max=256, help="Shards of the state.")] = 1,
    bidding: Annotated[bool, typer.Option("--bidding", help="Campaigns with strategies.")] = False,
    known_ids: Annotated[int, typer.Option(min=0, help="Event ids that it knows before the clock starts.")] = 0,
    with_limit: Annotated[bool, typer.Option("--limit/--no-limit", help=_LIMIT)] = True,
) -> None:
    """Run the whole dataflow over a file in one process, recovery on; prints one line of JSON.

    A run counts only when at least three epochs were closed in it: shorter epochs or a longer file see to that.
    """
    from benchmarks.pipeline import EPOCHS_MIN, measure

    def run() -> Any:
        result = measure(file, epoch_seconds=epoch_seconds, shards=shards, bidding=bidding, known_ids=known_ids)
        if result.epochs < EPOCHS_MIN:
            typer.echo(f"only {result.epochs} epochs were closed in {result.seconds} s: no figure", err=True)
            raise typer.Exit(1)
        return result

    _beside_limit(file, with_limit, run)


@app.command()
def stored(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Events, one JSON object a line.")],
) -> None:
    """Run a file through the flow and into the chDB service, each a process; prints one line of JSON."""
    import msgspec

    from benchmarks.stored import measure

    typer.echo(msgspec.json.encode(measure(file)))


@app.command()
def scale(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Events, one JSON object a line.")],
    kafka: Annotated[str, typer.Option(help="Bootstrap servers; empty: the local log.")] = "",
) -> None:
    """Run a file through one flow process, then through two; prints one line of JSON each."""
    import msgspec

    from benchmarks.scale import measure

    for result in measure(file, kafka):
        typer.echo(msgspec.json.encode(result))


@app.command()
def latency(
    rate: Annotated[int, typer.Option(min=200, help="Events a second.")] = 20_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long.")] = 60.0,
    known_ids: Annotated[
        int | None,
        typer.Option(min=0, help="Event ids known before the clock starts; if not given as many as it keeps."),
    ] = None,
) -> None:
    """From the moment an event is due to be sent to its pause decision in the log and to the frame in a browser.

    Through the embedded stack under load; prints one line of JSON, how late the sender was among it.
    """
    import msgspec

    from benchmarks.latency import measure
    from flows.logic.campaigns.shard import DEDUPE_IDS

    known = DEDUPE_IDS if known_ids is None else known_ids
    with tempfile.TemporaryDirectory(prefix="penstock-latency-") as folder:
        typer.echo(msgspec.json.encode(measure(rate, seconds, Path(folder), known_ids=known)))


@app.command()
def log(
    megabytes: Annotated[int, typer.Option(min=1, help="How much is appended and read, in MiB.")] = 512,
) -> None:
    """Appends and reads of the embedded log, and the delay at its tail; prints one line of JSON."""
    import msgspec

    from benchmarks.log import measure

    with tempfile.TemporaryDirectory(prefix="penstock-log-") as folder:
        typer.echo(msgspec.json.encode(measure(Path(folder), megabytes)))


@app.command()
def openrtb(
    rate: Annotated[int, typer.Option(min=10, help="Bid requests a second.")] = 500,
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
) -> None:
    """Bid requests by wrk against one api process on one core; prints one line of JSON."""
    import msgspec

    from benchmarks.openrtb import measure

    with tempfile.TemporaryDirectory(prefix="penstock-openrtb-") as folder:
        typer.echo(msgspec.json.encode(measure(rate, seconds, Path(folder))))


@app.command()
def restart(
    event_ids: Annotated[int, typer.Option(min=1, help="Known event ids, each of another person.")] = 1_000_000,
    campaigns: Annotated[int, typer.Option(min=1, help="Campaigns in state.")] = 10_000,
) -> None:
    """Kill a flow that holds much state and time its way from start to first decision; prints one line of JSON."""
    import msgspec

    from benchmarks.restart import measure

    typer.echo(msgspec.json.encode(measure(event_ids, campaigns)))
