"""Appending to one partition: under a file lock that every process takes, on disk before it returns."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.local_log.disk import Disk, write_all
from ingest.local_log.segments import segment_bases, segment_path, whole_bytes


class PartitionWriter:
    """Appends whole lines to a partition's last segment; many threads and processes may do so at once."""

    def __init__(self, disk: Disk, folder: Path, *, segment_bytes: int, fsync: bool) -> None:
        self.disk = disk
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._lock = threading.Lock()
        self._lock_fd: int | None = None
        self._base = 0
        self._fd: int | None = None
        # Segments begun since the start; whoever watches it knows when retention is worth a look.
        self.rolls = 0

    def append(self, payload: bytes) -> int:
        """Append whole lines; the offset behind them. Raises OSError, with no torn line left behind."""
        with self.exclusive():
            fd, size = self._active()
            if size >= self._segment_bytes:
                fd, size = self._roll(self._base + size), 0
            try:
                write_all(self.disk, fd, payload)
                if self._fsync:
                    self.disk.fdatasync(fd)
            except OSError:
                self._cut(fd)
                raise
            return self._base + size + len(payload)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other thread or process appends, rolls, removes or compacts in this partition meanwhile."""
        with self._lock:
            if self._lock_fd is None:
                self._lock_fd = self.disk.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT)
            self.disk.lock(self._lock_fd)
            try:
                yield
            finally:
                self.disk.unlock(self._lock_fd)

    def settled_end(self) -> int:
        """The offset behind the last line, a torn one cut. Only inside `exclusive`."""
        _, size = self._active()
        return self._base + size

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for fd in (self._fd, self._lock_fd):
                if fd is not None:
                    self.disk.close(fd)
            self._fd = self._lock_fd = None

    def _active(self) -> tuple[int, int]:
        """The last segment's file, open for appending, and its size without a torn line."""
        if self._fd is None or self._is_superseded(self._fd):
            bases = segment_bases(self.disk, self.folder)
            self._open(bases[-1] if bases else 0)
        assert self._fd is not None
        return self._fd, self._cut(self._fd)

    def _is_superseded(self, fd: int) -> bool:
        """Whether another process has begun a later segment or replaced this one."""
        state = self.disk.fstat(fd)
        if state.links == 0:
            return True
        return state.size_bytes > 0 and self.disk.exists(segment_path(self.folder, self._base + state.size_bytes))

    def _cut(self, fd: int) -> int:
        """Cut what a process that died, or a full disk, left of a line.

        Whole lines stay although nobody was told that they are there: a reader may have seen them already, and an
        offset must never hold something else later.
        """
        size = self.disk.fstat(fd).size_bytes
        whole = whole_bytes(self.disk, fd, size)
        if whole < size:
            self.disk.ftruncate(fd, whole)
        return whole

    def _roll(self, base: int) -> int:
        self.rolls += 1
        self._open(base)
        assert self._fd is not None
        return self._fd

    def _open(self, base: int) -> None:
        """Open the segment that starts at `base`, making it when it is not there."""
        path = segment_path(self.folder, base)
        is_new = not self.disk.exists(path)
        fd = self.disk.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            if is_new and self._fsync:
                self.disk.sync_folder(str(self.folder))
        except OSError:
            self.disk.close(fd)
            raise
        if self._fd is not None:
            self.disk.close(self._fd)
        self._fd, self._base = fd, base
