"""Reading one partition: whole lines only, two system calls a poll at the tail, no directory listing."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import Final, NamedTuple

from ingest.local_log.disk import Disk
from ingest.local_log.segments import segment_bases, segment_path, whole_bytes, whole_lines

# Open segment files kept a partition: readers at the tail, behind it, and one catching up from the start.
_OPEN_MAX: Final = 4


class OutsideError(Exception):
    """The offset lies before the first record, behind the last one, or inside a record."""

    def __init__(self, begin: int) -> None:
        super().__init__(begin)
        self.begin = begin


class Lines(NamedTuple):
    """Whole lines and where they start."""

    first_offset: int
    payload: bytes


class PartitionReader:
    """Reads a partition's segments while other processes append, roll and remove them."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._lock = threading.Lock()
        self._bases: list[int] = []
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, offset: int, max_bytes: int) -> Lines | None:
        """Whole lines from `offset` on; None when there are none yet. Raises OutsideError."""
        with self._lock:
            while True:
                base = self._segment_of(offset)
                if base is None:
                    return None
                fd = self._descriptor(base)
                if fd is None:
                    continue
                size = self._disk.fstat(fd).size_bytes
                if offset - base < size:
                    return self._lines_at(fd, base, offset, size, max_bytes)
                following = self._following(fd, base, size)
                if following is None:
                    if offset - base > size:
                        raise OutsideError(self._bases[0])
                    return None
                offset = max(offset, following)

    def begin(self) -> int:
        """The first offset there is."""
        with self._lock:
            self._rescan()
            return self._bases[0] if self._bases else 0

    def end(self) -> int:
        """The offset behind the last whole line."""
        with self._lock:
            if not self._bases:
                self._rescan()
            while self._bases:
                base = self._bases[-1]
                fd = self._descriptor(base)
                if fd is None:
                    continue
                size = self._disk.fstat(fd).size_bytes
                if self._following(fd, base, size) is None:
                    return base + whole_bytes(self._disk, fd, size)
            return 0

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            while self._open:
                self._disk.close(self._open.popitem()[1])

    def _lines_at(self, fd: int, base: int, offset: int, size: int, max_bytes: int) -> Lines | None:
        position = offset - base
        if position > 0 and self._disk.pread(fd, 1, position - 1) != b"\n":
            raise OutsideError(self._bases[0])
        payload = whole_lines(self._disk, fd, position, size, max_bytes)
        return Lines(offset, payload) if payload else None

    def _segment_of(self, offset: int) -> int | None:
        """First offset of the segment that holds `offset`; None when the partition is empty."""
        place = bisect_right(self._bases, offset) - 1
        if place < 0:
            self._rescan()
            if not self._bases and offset == 0:
                return None
            place = bisect_right(self._bases, offset) - 1
            if place < 0:
                raise OutsideError(self._bases[0] if self._bases else 0)
        return self._bases[place]

    def _descriptor(self, base: int) -> int | None:
        """The open file of a segment; None, after a fresh look at the folder, when it was removed."""
        fd = self._open.get(base)
        if fd is not None:
            self._open.move_to_end(base)
            return fd
        try:
            fd = self._disk.open(segment_path(self._folder, base), os.O_RDONLY)
        except FileNotFoundError:
            self._rescan()
            return None
        self._open[base] = fd
        if len(self._open) > _OPEN_MAX:
            self._disk.close(self._open.popitem(last=False)[1])
        return fd

    def _following(self, fd: int, base: int, size: int) -> int | None:
        """First offset of the next segment, of the same one when its file was replaced, or None at the tail."""
        place = bisect_right(self._bases, base)
        if place < len(self._bases):
            return self._bases[place]
        if size > 0 and self._disk.exists(segment_path(self._folder, base + size)):
            self._bases.append(base + size)
            return base + size
        if self._disk.fstat(fd).links == 0:
            self._disk.close(self._open.pop(base))
            self._rescan()
            return base
        return None

    def _rescan(self) -> None:
        try:
            self._bases = segment_bases(self._disk, self._folder)
        except FileNotFoundError:
            self._bases = []
