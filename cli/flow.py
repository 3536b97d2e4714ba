"""`penstock flow`: the dataflow `decide`, in one process or several."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli.itself import itself
from cli.logs import refuse, say, set_up
from cli.settings import Settings

if TYPE_CHECKING:
    from flows.process import ProcessSettings


def flow(
    processes: Annotated[int, typer.Option(min=1, help="Processes on this machine, as one cluster.")] = 1,
    process_id: Annotated[
        int | None, typer.Option(min=0, help="Number of this process in a cluster of several machines.")
    ] = None,
    addresses: Annotated[
        str, typer.Option(help="host:port of every process of the cluster, in order, separated by semicolons.")
    ] = "",
    until_end: Annotated[bool, typer.Option(help="Stop at the end that the log has now.")] = False,
    replay: Annotated[
        bool, typer.Option(help="Take every decision where events.order says; write no entries of its own.")
    ] = False,
    rewind: Annotated[
        bool, typer.Option(help="Put the state aside and end: the next start makes it anew from the whole log.")
    ] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Read events, keep KPIs and budgets, take decisions. Goes on from its last snapshot."""
    members = tuple(address.strip() for address in addresses.split(";") if address.strip())
    _check(processes, process_id, members)
    settings = Settings()
    if rewind:
        _rewind(settings, process_id)
        return
    words = [*(["--until-end"] if until_end else []), *(["--replay"] if replay else [])]
    if processes > 1:
        set_up("flow", settings)
        raise typer.Exit(_supervise(settings, processes, words))
    set_up("flow" if process_id is None else f"flow-{process_id}", settings)
    _run(settings, process_id, members, until_end=until_end, replay=replay, child=child)


def _check(processes: int, process_id: int | None, members: Sequence[str]) -> None:
    if (process_id is None) != (not members):
        raise typer.BadParameter("--process-id and --addresses go together")
    if process_id is not None and process_id >= len(members):
        raise typer.BadParameter(f"--process-id {process_id} has no address: there are {len(members)}, from 0")
    if processes > 1 and members:
        raise typer.BadParameter("--processes is for one machine, --addresses for several")


def _run(
    settings: Settings,
    process_id: int | None,
    members: tuple[str, ...],
    *,
    until_end: bool,
    replay: bool,
    child: bool,
) -> None:
    from contextlib import nullcontext

    from cli.progress import reporting
    from cli.telemetry import telemetry
    from cli.wiring import open_log
    from flows.instance_lock import InstanceLock, InstanceLockedError
    from flows.metrics import Meter
    from flows.place import LogBehindError
    from flows.process import ProcessSettings, end_with_parent, run
    from flows.snapshots.framed import StateDamagedError
    from flows.snapshots.versions import UnknownVersionError
    from flows.store import StoreMismatchError
    from schemas.health import Progress

    if child:
        end_with_parent()
    # Processes started by hand may be on machines of their own: each keeps its own part of the store.
    shared = child or not members
    own = ProcessSettings(
        recovery_dir=settings.data_dir / ("recovery" if shared else f"recovery-{process_id}"),
        shards=settings.shards,
        dedupe_ids=settings.dedupe_ids,
        epoch_seconds=settings.epoch_seconds,
        addresses=members,
        process=process_id or 0,
        shared=shared,
        metrics_port=settings.metrics_port,
        metrics_host=settings.host,
        until_end=until_end,
        journals=not replay,
    )
    try:
        # The supervisor of this child holds the lock, and the child with it.
        with nullcontext() if child else InstanceLock(settings.data_dir, process_id):
            name, progress, log = "flow" if process_id is None else f"flow-{process_id}", Progress(), open_log(settings)
            meter = Meter(progress.loop("dataflow"))
            told = telemetry(name, settings, [meter.registry])
            with told, reporting(settings.data_dir, name, progress) as reporter:
                reporter.tell_on(log)
                run(log, own, ready=lambda: _say_ready(settings, own), progress=progress, meter=meter)
    except (InstanceLockedError, StoreMismatchError, LogBehindError, StateDamagedError, UnknownVersionError) as error:
        refuse("flow", settings, error)
        raise typer.Exit(2) from None
    say("flow", settings, f"stopped after {meter.lines} events and {meter.decisions} decisions")


def _rewind(settings: Settings, process_id: int | None) -> None:
    """Put the recovery store aside, and say what the next start will know."""
    import time

    from cli.wiring import open_log
    from flows.instance_lock import InstanceLock, InstanceLockedError
    from flows.store import put_aside
    from schemas.topics import EVENTS

    folder = settings.data_dir / ("recovery" if process_id is None else f"recovery-{process_id}")
    try:
        with InstanceLock(settings.data_dir, process_id):
            aside = put_aside(folder, time.time_ns() // 1_000_000)
    except InstanceLockedError as error:
        refuse("flow", settings, error)
        raise typer.Exit(2) from None
    if aside is None:
        say("flow", settings, f"there is no state in {folder}; the next start reads the whole log")
        return
    log = open_log(settings)
    cut = [p for p in range(log.partitions(EVENTS)) if log.begin(EVENTS, p) > 0]
    log.close()
    say("flow", settings, f"the state is in {aside} now; the next start reads the whole log")
    if cut:
        partitions = ", ".join(map(str, cut))
        say(
            "flow",
            settings,
            f"retention has removed the oldest events of partition(s) {partitions}: what was spent in them will not be "
            "known. Lower total budgets by it, and this week's if it began before",
        )


def _say_ready(settings: Settings, own: ProcessSettings) -> None:
    place = f"process {own.process} of {len(own.addresses)}" if own.addresses else "one process"
    say("flow", settings, f"{place}, {own.shards} shard(s), state in {own.recovery_dir}")


def _supervise(settings: Settings, processes: int, words: Sequence[str]) -> int:
    from cli.watch import Watch
    from flows.cluster import supervise
    from flows.instance_lock import InstanceLock, InstanceLockedError
    from storage.run_folder import run_folder

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def command(number: int, addresses: Sequence[str]) -> list[str]:
        cluster = ["--process-id", str(number), "--addresses", ";".join(addresses), "--child"]
        return itself("flow", *cluster, *words)

    watch = Watch(run_folder(settings.data_dir), stuck_s=settings.stuck_seconds)

    def stuck(number: int, pid: int) -> str | None:
        if number == 0:
            watch.awake()
        return watch.must_restart(f"flow-{number}", pid)

    try:
        with InstanceLock(settings.data_dir) as lock:
            return supervise(command, processes, stop=stop, held=lock.inheritable(), stuck=stuck)
    except InstanceLockedError as error:
        refuse("flow", settings, error)
        return 2
