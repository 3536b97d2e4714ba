"""One process of the flow, from its log to its end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from bytewax._bytewax import cluster_main, run_main
from bytewax.recovery import RecoveryConfig

from flows.clock import SystemClock
from flows.decide import CLUSTER_EPOCH_BYTES, FlowSettings, build
from flows.metrics import Meter
from flows.place import SPAN_BYTES, LogBehindError, SourceOptions
from flows.room import Room
from flows.snapshots.framed import StateDamagedError
from flows.snapshots.versions import UnknownVersionError
from flows.status import StatusReporter
from flows.store import StoreSettings, prepare
from flows.warm import load_kernels, settle_collector
from schemas.health import Progress
from schemas.log import Log, LogUnavailableError
from schemas.topics import EVENTS

# After SIGTERM: a process that has not ended by then is held up, and ending it here loses nothing.
STOP_S: Final = 6.0
_RETRY_S: Final = 1.0
# Beyond two epochs: how long one may take to close, with a large snapshot on a slow disk.
_OVERDUE_S: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How one process of the flow runs."""

    recovery_dir: Path
    shards: int
    dedupe_ids: int
    epoch_seconds: float
    # Addresses (host:port) of all processes of the cluster, this one included; empty for a single process.
    addresses: tuple[str, ...] = ()
    process: int = 0
    # True when the processes of the cluster share `recovery_dir`.
    shared: bool = True
    # 0: no metrics. The process number is added.
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"
    until_end: bool = False
    journals: bool = True
    span_bytes: int = SPAN_BYTES


class Stop:
    """A request to stop, by SIGTERM or SIGINT; an end is forced when it takes too long."""

    def __init__(self) -> None:
        self._asked = False
        self._renewing = False

    def __call__(self) -> bool:
        return self._asked or self._renewing

    def renew(self) -> None:
        """End the dataflow with a snapshot, to begin it anew."""
        self._renewing = True

    def renewed(self) -> bool:
        """Whether the dataflow ended to begin anew; asked once."""
        renewing, self._renewing = self._renewing, False
        return renewing and not self._asked

    def on_signals(self) -> None:
        """Listen. Only the main thread may call this."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            threading.Thread(target=_end_after, args=(STOP_S,), daemon=True).start()


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    _log.warning("the flow did not end within %.0f s and is ended; it goes on from its last snapshot", seconds)
    os._exit(1)


def end_with_parent() -> None:
    """End this process when whoever started it has gone: its stdin, a pipe from there, comes to its end."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def run(
    log: Log,
    settings: ProcessSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
    meter: Meter | None = None,
) -> Meter:
    """Run the flow until it is told to stop, or with `until_end` until the log's end; what was counted.

    Raises StoreMismatchError, LogBehindError, StateDamagedError, and RuntimeError when a stage failed or another
    process of the cluster went away.
    """
    stop = Stop()
    stop.on_signals()
    progress = progress if progress is not None else Progress()
    meter = meter if meter is not None else Meter(progress.loop("dataflow"))
    # Kernels are loaded before the first event, not while it waits.
    progress.starting = "loads its kernels; the first start compiles them, which takes about a minute"
    load_kernels()
    settle_collector()
    progress.starting = "opens its state"
    processes = max(1, len(settings.addresses))
    partitions = _partitions(log, stop, meter)
    if stop():
        return meter
    fixed = StoreSettings(settings.shards, partitions, log.identity())
    room = Room(settings.recovery_dir, meter, stop)
    if not settings.recovery_dir.exists():
        progress.starting = "waits for room on the disk to make its state"
        room.wait()
    prepare(settings.recovery_dir, fixed, process=settings.process, processes=processes, shared=settings.shared)
    flow_settings = _flow_settings(settings, processes)
    if settings.metrics_port:
        meter.serve(settings.metrics_host, settings.metrics_port + settings.process)
    clock = SystemClock()
    status = StatusReporter(log, meter, clock, settings.process)
    status.start()
    progress.ready()
    ready()
    try:
        while True:
            _run_dataflow(log, settings, flow_settings, meter, clock, stop, room)
            if not stop.renewed():
                break
            _log.warning("the wall clock was set back: the dataflow goes on from a snapshot that was just taken")
    finally:
        status.stop()
    return meter


def _flow_settings(settings: ProcessSettings, processes: int) -> FlowSettings:
    return FlowSettings(
        shards=settings.shards,
        dedupe_ids=settings.dedupe_ids,
        recovery_dir=settings.recovery_dir,
        process=settings.process,
        processes=processes,
        source=SourceOptions(
            span_bytes=settings.span_bytes,
            ends=settings.until_end,
            journals=settings.journals,
            epoch_bytes_max=CLUSTER_EPOCH_BYTES if processes > 1 else None,
            touches=True,
            epoch_s_max=2 * settings.epoch_seconds + _OVERDUE_S,
        ),
    )


def _run_dataflow(
    log: Log,
    settings: ProcessSettings,
    flow_settings: FlowSettings,
    meter: Meter,
    clock: SystemClock,
    stop: Stop,
    room: Room,
) -> None:
    renew = _break_cluster if settings.addresses else stop.renew
    flow = build(
        flow_settings, log, meter=meter, clock=clock, stopping=stop, renew=renew, room=room.wait, full=room.full
    )
    # Bytewax writes to the store when it opens it, too.
    room.wait()
    epoch = timedelta(seconds=settings.epoch_seconds)
    recovery = RecoveryConfig(settings.recovery_dir, timedelta(0))  # type: ignore[no-untyped-call]
    try:
        if settings.addresses:
            members = list(settings.addresses)
            cluster_main(flow, members, settings.process, epoch_interval=epoch, recovery_config=recovery)  # type: ignore[no-untyped-call]
        else:
            run_main(flow, epoch_interval=epoch, recovery_config=recovery)  # type: ignore[no-untyped-call]
    except BaseException as error:
        told = _told(error)
        if told is not None:
            raise told from None
        # Bytewax raises a panic of its Rust side, when a peer goes away, as a BaseException of its own.
        if isinstance(error, Exception | KeyboardInterrupt | SystemExit):
            raise
        raise RuntimeError(f"the cluster broke: {error}") from error


def _break_cluster() -> None:
    """One process cannot begin anew by itself: all are started again by whoever started them."""
    raise RuntimeError("the wall clock was set back: the cluster goes on from its last snapshot")


def _told(error: BaseException | None) -> LogBehindError | StateDamagedError | UnknownVersionError | None:
    """What a partition or a shard said, out of what Bytewax made of it."""
    while error is not None and not isinstance(error, LogBehindError | StateDamagedError | UnknownVersionError):
        error = error.__cause__ or error.__context__
    return error


def _partitions(log: Log, stop: Stop, meter: Meter) -> int:
    """Number of partitions of `events`; waits for a log that is away."""
    while not stop():
        try:
            partitions = log.partitions(EVENTS)
            meter.loop.goes_on("start")
            return partitions
        except LogUnavailableError as error:
            meter.loop.waits_for(f"the log: {error}", "start")
            _log.warning("waiting for the log: %s", error)
            time.sleep(_RETRY_S)
    return 0
