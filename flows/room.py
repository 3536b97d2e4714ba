"""Room on the disk for the flow's state: Bytewax ends with a panic when its recovery store cannot be written."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flows.metrics import Meter

# Beside the state: SQLite's own files, and whatever else is written to the same disk meanwhile.
MARGIN_BYTES: Final = 16 * 2**20
# A snapshot stands in SQLite's write-ahead log and then in its file.
_COPIES: Final = 2
_LOOK_S: Final = 0.2
_FULL_S: Final = 1.0
_MIB: Final = 2**20

_log = logging.getLogger(__name__)


def free_bytes(folder: Path) -> int:
    """What may still be written to the disk of a folder, which need not be there yet."""
    found = os.statvfs(folder if folder.exists() else folder.parent)
    return found.f_bavail * found.f_frsize


class Room:
    """Waits until the disk of the recovery store can take a snapshot as large as the last one."""

    def __init__(
        self,
        folder: Path,
        meter: Meter,
        stopping: Callable[[], bool],
        free: Callable[[Path], int] = free_bytes,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._meter = meter
        self._stopping = stopping
        self._free = free
        self._sleep = sleep

    def wait(self) -> None:
        """Return when there is room. Raises RuntimeError when the flow is told to stop and there is none."""
        told = False
        while (free := self._free(self._folder)) < (need := MARGIN_BYTES + _COPIES * self._meter.snapshot_bytes):
            wanted = (
                f"room on the disk of {self._folder}: {free // _MIB} MiB are free and a snapshot of the state may take "
                f"{need // _MIB} MiB; free some"
            )
            if self._stopping():
                raise RuntimeError(f"stopped without {wanted}. The next start goes on from the last snapshot")
            if not told:
                _log.warning("the flow waits for %s", wanted)
                told = True
            self._meter.loop.waits_for(wanted, "room")
            self._sleep(_LOOK_S)
        self._meter.loop.goes_on("room")

    def full(self, error: OSError) -> None:
        """Wait a moment: a snapshot met a full disk. Raises RuntimeError when the flow is told to stop meanwhile."""
        wanted = f"room on the disk of {self._folder} for its state ({error}); free some"
        if self._stopping():
            raise RuntimeError(f"stopped without {wanted}. The next start goes on from the last snapshot") from error
        _log.warning("the flow waits for %s", wanted)
        self._meter.loop.waits_for(wanted, "room")
        self._sleep(_FULL_S)
