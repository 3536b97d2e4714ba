"""`penstock topics`: what the log holds and how far its readers are; make, compact, trim."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cli.settings import Settings
from cli.wiring import open_log
from schemas import topics

if TYPE_CHECKING:
    from ingest.local_log import LocalLog
    from schemas.log import Log

app = typer.Typer(invoke_without_command=True, help=str(__doc__))


class PartitionState(NamedTuple):
    """One partition: its first offset, the one behind its last record, and how far each group still has to go."""

    topic: str
    partition: int
    begin: int
    end: int
    lag: dict[str, int]


def partition_states(log: Log, groups: list[str]) -> Iterator[PartitionState]:
    """Every partition of every topic. Lag is in offsets: bytes on the local log, messages on Kafka."""
    for topic in topics.ALL:
        for partition in range(log.partitions(topic)):
            end = log.end(topic, partition)
            committed = {group: log.committed(group, topic, partition) for group in groups}
            lag = {group: end - offset for group, offset in committed.items() if offset is not None}
            yield PartitionState(topic, partition, log.begin(topic, partition), end, lag)


@app.callback()
def show(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One line of JSON each.")] = False
) -> None:
    """List topics: first offset, end, and the lag of every group that commits offsets."""
    if context.invoked_subcommand is not None:
        return
    settings = Settings()
    with _told_plainly():
        log = open_log(settings)
        try:
            states = list(partition_states(log, _groups(settings, log)))
        finally:
            log.close()
    if as_json:
        for state in states:
            print(json.dumps(state._asdict()))
        return
    _print_table(states, unit="messages" if settings.kafka else "bytes")


@app.command("create")
def create() -> None:
    """Make the topics that are missing: on Kafka, with their settings; the local log makes its own."""
    settings = Settings()
    with _told_plainly():
        if not settings.kafka:
            open_log(settings).close()
            print(f"the local log in {settings.data_dir / 'log'} is ready; it makes topics by itself")
            return
        from ingest.kafka_topics import ensure_topics

        made = ensure_topics(
            settings.kafka,
            settings.partitions,
            prefix=settings.kafka_prefix,
            retention_ms=round(settings.log_retention_hours * 3_600_000),
            config=settings.kafka_config,
        )
    print(f"made {', '.join(made)}" if made else "all topics are there")


@app.command("retain")
def retain() -> None:
    """Remove what is beyond the local log's retention now; Kafka does so by itself."""
    with _told_plainly():
        log = _local_log(Settings())
        removed = log.enforce_retention(time.time_ns() // 1_000_000)
        log.close()
    print(f"removed {removed} segments")


@app.command("compact")
def compact(topic: Annotated[str, typer.Argument(help="A compacted topic.")] = topics.CONTROL) -> None:
    """Rewrite a topic of the local log as the last record of each key; Kafka does so by itself."""
    from schemas.topics import COMPACTED

    if topic not in COMPACTED:
        raise typer.BadParameter(f"{topic} is not compacted; {', '.join(COMPACTED)} is")
    with _told_plainly():
        log = _local_log(Settings())
        before = log.end(topic, 0) - log.begin(topic, 0)
        begin = log.compact(topic)
        after = log.end(topic, 0) - begin
        log.close()
    print(f"{topic}: {before} bytes became {after}; it starts at offset {begin}")


def _local_log(settings: Settings) -> LocalLog:
    from ingest.local_log import LocalLog

    log = open_log(settings)
    if not isinstance(log, LocalLog):
        raise typer.BadParameter("PENSTOCK_KAFKA is set, and Kafka keeps its topics itself")
    return log


def _groups(settings: Settings, log: Log) -> list[str]:
    from ingest.local_log import LocalLog

    if isinstance(log, LocalLog):
        return log.groups()
    from ingest.kafka_topics import group_names

    return group_names(settings.kafka, config=settings.kafka_config)


def _print_table(states: list[PartitionState], *, unit: str) -> None:
    from rich.console import Console
    from rich.table import Table

    groups = sorted({group for state in states for group in state.lag})
    table = Table(caption=f"offsets and lag in {unit}")
    table.add_column("topic")
    for name in ("partition", "begin", "end", *(f"lag of {group}" for group in groups)):
        table.add_column(name, justify="right")
    for state in states:
        lags = [str(state.lag.get(group, "")) for group in groups]
        table.add_row(state.topic, str(state.partition), str(state.begin), str(state.end), *lags)
    Console().print(table)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Errors of the log as one line and exit code 1."""
    from schemas.log import LogUnavailableError

    try:
        yield
    except (LogUnavailableError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
