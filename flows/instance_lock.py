"""A lock on the data folder: two flows that journal the same events would write two orders."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_NAME: Final = "flow.lock"
# Children of a flow that was killed end within a moment; a restart waits for them.
WAIT_S: Final = 15.0
_LOOK_S: Final = 0.05


class InstanceLockedError(Exception):
    """Another flow works on the folder."""


class InstanceLock:
    """Held while a flow works on `data_dir`. The kernel gives it up when the last process that has it open ends, so
    a flow that was killed never blocks the next one, and one whose parent was killed still does.

    `member` is the number of a process of a cluster that was started by hand: such processes share the folder with
    each other, but not with a flow of its own, nor with a second process of the same number.
    """

    def __init__(self, data_dir: Path, member: int | None = None) -> None:
        self._data_dir = data_dir
        self._member = member
        self._files: list[int] = []

    def __enter__(self) -> Self:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if self._member is None:
            self._lock(_NAME, fcntl.LOCK_EX)
        else:
            self._lock(_NAME, fcntl.LOCK_SH)
            self._lock(f"flow-{self._member}.lock", fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._files:
            os.close(self._files.pop())

    def inheritable(self) -> list[int]:
        """File descriptors for child processes to hold as well."""
        return list(self._files)

    def _lock(self, name: str, kind: int) -> None:
        file = os.open(self._data_dir / name, os.O_RDWR | os.O_CREAT, 0o644)
        self._files.append(file)
        if not _taken(file, kind):
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.__exit__(None, None, None)
            raise InstanceLockedError(
                f"another flow (process {holder}) already works on {self._data_dir}; end it first, or give this one "
                "another PENSTOCK_DATA_DIR"
            )
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)


def _taken(file: int, kind: int) -> bool:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_LOOK_S)
        else:
            return True
