"""`penstock state`: what the flow's state holds, and another number of shards for it; the flow is stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.logs import refuse
from cli.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from flows.reshard import Shown
    from schemas.log import Log

app = typer.Typer(help=str(__doc__), no_args_is_help=True)


@app.command("show")
def show(as_json: Annotated[bool, typer.Option("--json", help="One object of JSON.")] = False) -> None:
    """Print shards, campaigns, series, remembered ids, and how far each partition was read."""
    with _stopped() as (settings, folder, log):
        from flows.reshard import shown

        found = shown(folder, log, settings.dedupe_ids)
    if as_json:
        print(json.dumps(found._asdict()))
        return
    for line in _told(found):
        print(line)


@app.command("reshard")
def reshard(
    shards: Annotated[
        int | None, typer.Option(min=1, max=256, help="Shards from now on; else as PENSTOCK_SHARDS says.")
    ] = None,
    undrained: Annotated[
        bool, typer.Option(help="Also where partitions that are no campaign's home any more were not read to the end.")
    ] = False,
) -> None:
    """Give the state another number of shards, and the partitions that the log has now. Nothing is lost.

    The state that there was is put aside beside it. Killed at any moment, the old state or the new one is there.
    """
    import time

    with _stopped() as (settings, folder, log):
        from flows.reshard import reshard_store

        wanted = settings.shards if shards is None else shards
        aside = reshard_store(
            folder,
            log,
            shards=wanted,
            dedupe_ids=settings.dedupe_ids,
            now_ms=time.time_ns() // 1_000_000,
            undrained=undrained,
            tell=typer.echo,
        )
    typer.echo(f"the state has {wanted} shard(s) now: start the flow with PENSTOCK_SHARDS={wanted}")
    typer.echo(f"the state as it was is in {aside}; remove it once all is well")


@contextmanager
def _stopped() -> Iterator[tuple[Settings, Path, Log]]:
    """The folder of the state and the log, while no flow works on them; errors are told in a sentence."""
    from cli.wiring import open_log
    from flows.instance_lock import InstanceLock, InstanceLockedError
    from flows.logic.campaigns.reshard_windows import TooLargeError
    from flows.place import LogBehindError
    from flows.reshard import CannotReshardError
    from flows.snapshots.framed import StateDamagedError
    from flows.snapshots.versions import UnknownVersionError
    from flows.store import StoreMismatchError
    from schemas.log import LogUnavailableError

    settings = Settings()
    try:
        with InstanceLock(settings.data_dir):
            log = open_log(settings)
            try:
                yield settings, settings.data_dir / "recovery", log
            finally:
                log.close()
    except (
        InstanceLockedError, TooLargeError, LogBehindError, CannotReshardError, StateDamagedError, UnknownVersionError,
        StoreMismatchError, LogUnavailableError, OSError, ValueError,
    ) as error:  # fmt: skip
        refuse("state", settings, error)
        raise typer.Exit(2) from None


def _told(found: Shown) -> list[str]:
    lines = [
        f"{found.folder}: {found.shards} shard(s), {found.partitions} partition(s), version {found.version}, made from "
        f"log {found.log}"
    ]
    lines += [
        f"partition {one.partition}: read to {one.events} of {one.end}, clock {one.clock}" for one in found.places
    ]
    lines += [
        f"shard {one.shard}: {one.campaigns} campaigns ({one.defined} defined), {one.series} series, {one.windows} "
        f"windows, {one.ids} ids; files of {one.state_bytes} bytes of state and {one.id_bytes} of ids"
        for one in found.of_shards
    ]
    return lines
