"""Appending to one partition: under a file lock that every process takes, on disk before anybody sees it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest.local_log.blocks import Cut, encode_append
from ingest.local_log.disk import Disk, write_all
from ingest.local_log.durable import DurableEnd, Head
from ingest.local_log.segments import BLOCKS, Segment
from ingest.local_log.settle import settle


class PartitionWriter:
    """Appends whole lines to a partition's last segment; many threads and processes may do so at once."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        *,
        segment_bytes: int,
        fsync: bool,
        now_ms: Callable[[], int],
        disposable: bool = False,
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.fsync = fsync
        self._segment_bytes = segment_bytes
        self._disposable = disposable
        self._now_ms = now_ms
        self._durable = DurableEnd(disk, str(folder))
        self._lock = threading.Lock()
        self._lock_fd: int | None = None
        self._fd: int | None = None
        # What `_fd` is open for.
        self._base = -1
        self._generation = -1
        # Segments begun since the start; whoever watches it knows when retention is worth a look.
        self.rolls = 0

    def append(self, payload: bytes, cuts: list[Cut]) -> int:
        """Append whole lines; the offset behind them. Raises OSError, and then takes back what it wrote."""
        with self.exclusive():
            head = self.settled()
            if head.end - head.base >= self._segment_bytes:
                head = self._rolled(head)
            fd = self._opened(head)
            content = encode_append(payload, cuts, head.end, self._now_ms())
            try:
                write_all(self.disk, fd, content)
                if self.fsync:
                    self.disk.fdatasync(fd)
            except OSError:
                with suppress(OSError):
                    self.disk.ftruncate(fd, head.position)
                raise
            head = head._replace(position=head.position + len(content), end=head.end + len(payload))
            self._durable.publish(head)
            return head.end

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other thread or process appends, rolls, removes or replaces in this partition meanwhile."""
        with self._lock:
            if self._lock_fd is None:
                self._lock_fd = self.disk.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT)
            self.disk.lock(self._lock_fd)
            try:
                yield
            finally:
                self.disk.unlock(self._lock_fd)

    def settled(self) -> Head:
        """What is published, brought in agreement with the files when it is not. Only inside `exclusive`."""
        head = self._durable.read()
        if head is None or not self._is_open_for(head):
            head = settle(self.disk, self.folder, self._durable, fsync=self.fsync, disposable=self._disposable)
        return head

    def replaced(self, head: Head) -> None:
        """Publish `head`, and that segments were removed or replaced. Only inside `exclusive`."""
        self._durable.publish(head._replace(generation=head.generation + 1))

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._durable.close()
            for fd in (self._fd, self._lock_fd):
                if fd is not None:
                    self.disk.close(fd)
            self._fd = self._lock_fd = None

    def _is_open_for(self, head: Head) -> bool:
        """Whether the open file is the last segment and holds what is published, no more and no less."""
        if self._fd is None or head.base != self._base or head.generation != self._generation:
            return False
        return self.disk.fstat(self._fd).size_bytes == head.position

    def _rolled(self, head: Head) -> Head:
        """Begin a new segment at the end; told at once, so that all processes agree where it begins."""
        head = Head(head.generation, head.end, 0, head.end)
        self._opened(head)
        self._durable.publish(head)
        self.rolls += 1
        return head

    def _opened(self, head: Head) -> int:
        """The last segment's file, open for appending: made when it is not there, and only what is published in it."""
        if self._fd is not None and (self._base, self._generation) == (head.base, head.generation):
            return self._fd
        path = Segment(head.base, BLOCKS).path(self.folder)
        is_new = not self.disk.exists(path)
        fd = self.disk.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            if is_new and self.fsync:
                self.disk.sync_folder(str(self.folder))
            if self.disk.fstat(fd).size_bytes > head.position:
                self.disk.ftruncate(fd, head.position)
        except OSError:
            self.disk.close(fd)
            raise
        if self._fd is not None:
            self.disk.close(self._fd)
        self._fd, self._base, self._generation = fd, head.base, head.generation
        return fd
