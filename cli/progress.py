"""Reports of this process's progress: into the run folder, and on topic `live` for other machines."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from schemas import topics
from schemas.health import ENDINGS_MS, Gauge, Progress
from schemas.live import Ending, ProcessStatus, encode_live
from schemas.log import Log, LogUnavailableError
from storage import run_folder

EVERY_S: Final = 1.0
# What a report may add to a loop's quiet time: after SIGCONT, or a machine's sleep, nobody is blamed for the gap.
PASSED_MAX_S: Final = 2.0
ENDINGS_KEPT: Final = 10


class Reporter:
    """Writes a report a second in a thread of its own; what it reports is counted by the working loops alone."""

    def __init__(self, data_dir: Path, process: str, progress: Progress) -> None:
        self._folder = run_folder.run_folder(data_dir)
        self._process = process
        self._progress = progress
        self._gauge = Gauge()
        self._host = socket.gethostname()
        self._started_ms = _now_ms()
        self._endings = endings_of(run_folder.read(self._folder, process), self._host, self._started_ms)
        self._beat = 0
        self._at_s = time.monotonic()
        self._stopped = threading.Event()
        self._last: ProcessStatus | None = None
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Report until `stop`."""
        self._report()
        self._thread.start()

    def tell_on(self, log: Log) -> None:
        """From now on also on topic `live`, by a thread of its own: a log that is away may hold it for minutes."""
        threading.Thread(target=self._tell, args=(log,), name="progress-live", daemon=True).start()

    def stop(self, ended: str | None = None) -> None:
        """The last report: stopped as asked, or ended by itself for the reason in `ended`."""
        self._stopped.set()
        self._thread.join(timeout=2 * EVERY_S)
        with suppress(OSError):
            last = msgspec.structs.replace(self._status(), state="stopped")
            if ended is not None:
                ending = Ending(at_ms=last.now_ms, reason=ended)
                kept = [*self._endings, ending][-ENDINGS_KEPT:]
                last = msgspec.structs.replace(last, state="ended", reason=ended, endings=kept)
            run_folder.write(self._folder, last)

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._report()

    def _report(self) -> None:
        self._last = self._status()
        # A disk that takes not even this is told by the log, the data folder's check, and the age of the report.
        with suppress(OSError):
            run_folder.write(self._folder, self._last)

    def _tell(self, log: Log) -> None:
        while not self._stopped.wait(EVERY_S):
            if self._last is not None:
                with suppress(LogUnavailableError):
                    log.append(topics.LIVE, 0, [encode_live(self._last)])

    def _status(self) -> ProcessStatus:
        now_s = time.monotonic()
        passed_s, self._at_s = min(now_s - self._at_s, PASSED_MAX_S), now_s
        self._beat += 1
        loops = self._gauge.read(self._progress.loops, passed_s)
        starting = self._progress.starting
        return ProcessStatus(
            now_ms=_now_ms(),
            process=self._process,
            host=self._host,
            pid=os.getpid(),
            started_ms=self._started_ms,
            beat=self._beat,
            state="running" if starting is None else "starting",
            reason=starting or "",
            progress=sum(loop.done for loop in loops),
            waiting=sum(loop.waiting for loop in loops),
            loops=loops,
            endings=self._endings,
        )


@contextmanager
def reporting(data_dir: Path, process: str, progress: Progress) -> Iterator[Reporter]:
    """Reports while the context lasts; the last report says whether it was left in good order."""
    reporter = Reporter(data_dir, process, progress)
    reporter.start()
    try:
        yield reporter
    except BaseException as error:
        reporter.stop(None if isinstance(error, KeyboardInterrupt) else _words(error))
        raise
    reporter.stop()


def end_by_return() -> None:
    """For processes served by uvicorn, which raises SIGTERM once more when it is done: let it return instead, so that
    the last report is written."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)


def endings_of(before: tuple[ProcessStatus, float] | None, host: str, now_ms: int) -> list[Ending]:
    """How the runs before this one ended, of the last ten minutes, by the report that the last one left."""
    if before is None:
        return []
    seen = run_folder.as_seen_here(before[0], host)
    endings = list(seen.endings)
    if before[0].state in ("starting", "running") and seen.state == "ended":
        endings.append(Ending(at_ms=now_ms, reason=run_folder.GONE))
    return [ending for ending in endings if 0 <= now_ms - ending.at_ms < ENDINGS_MS][-ENDINGS_KEPT:]


def _words(error: BaseException) -> str:
    code = getattr(error, "exit_code", None) if not isinstance(error, SystemExit) else error.code
    if code is not None:
        return f"ended with code {code}"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"[:300]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
