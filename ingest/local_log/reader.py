"""Reading one partition: durable whole lines only, one system call a poll at the tail, no directory listing."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import Final, NamedTuple

from ingest.local_log.disk import Disk
from ingest.local_log.durable import DurableEnd, Head
from ingest.local_log.open_segment import InsideError, LostBytesError, OpenSegment, SetAsideError
from ingest.local_log.segments import LINES, Segment, segments_in, whole_lines
from ingest.local_log.settle import settle

# Open segment files kept a partition: readers at the tail, behind it, and one catching up from the start.
_OPEN_MAX: Final = 4


class OutsideError(Exception):
    """The offset lies before the first record, behind the last one, or inside a record; `begin` is where to go on."""

    def __init__(self, begin: int) -> None:
        super().__init__(begin)
        self.begin = begin


class Lines(NamedTuple):
    """Whole lines and where they start."""

    first_offset: int
    payload: bytes


class PartitionReader:
    """Reads a partition's segments while other processes append, roll, replace and remove them.

    `disposable`: what is damaged is left out, as nobody needs it later (live rows).
    """

    def __init__(self, disk: Disk, folder: Path, *, fsync: bool, disposable: bool = False) -> None:
        self._disk = disk
        self._folder = folder
        self._fsync = fsync
        self._disposable = disposable
        self._durable = DurableEnd(disk, str(folder))
        self._lock = threading.Lock()
        self._settled = False
        self._generation = -1
        self._bases: list[int] = []
        self._kinds: dict[int, str] = {}
        self._open: OrderedDict[int, OpenSegment] = OrderedDict()

    def read(self, offset: int, max_bytes: int) -> Lines | None:
        """Whole lines from `offset` on; None when there are none yet. Raises OutsideError, LostBytesError."""
        with self._lock:
            head = self._head()
            if offset == head.end:
                return None
            if offset > head.end:
                raise OutsideError(self._first(head))
            while True:
                try:
                    segment, end = self._segment_of(offset, head)
                    return self._lines(segment, offset, end, max_bytes)
                except FileNotFoundError:
                    # Removed or replaced since the folder was listed.
                    self._forget(head)
                except LostBytesError as lost:
                    if self._disposable and lost.end > offset:
                        raise OutsideError(lost.end) from lost
                    raise

    def begin(self) -> int:
        """The first offset there is."""
        with self._lock:
            head = self._head()
            self._rescan(head)
            return self._first(head)

    def end(self) -> int:
        """The durable end: the offset behind the last line that readers may see."""
        with self._lock:
            return self._head().end

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._durable.close()
            self._close_segments()

    def _head(self) -> Head:
        head = self._durable.read() if self._settled else None
        if head is None:
            head = self._settle()
            self._settled = True
        if head.generation != self._generation:
            self._forget(head)
        return head

    def _settle(self) -> Head:
        """After a power loss the published end may be too low: the first look compares it with the files."""
        fd = self._disk.open(f"{self._folder}/lock", os.O_RDWR | os.O_CREAT)
        try:
            self._disk.lock(fd)
            return settle(self._disk, self._folder, self._durable, fsync=self._fsync, disposable=self._disposable)
        finally:
            self._disk.close(fd)

    def _lines(self, segment: OpenSegment, offset: int, end: int, max_bytes: int) -> Lines:
        if segment.kind == LINES:
            return self._plain_lines(segment, offset, end, max_bytes)
        try:
            return Lines(offset, segment.read(offset, end, max_bytes))
        except InsideError:
            raise OutsideError(self._bases[0]) from None
        except SetAsideError as gap:
            raise OutsideError(gap.end) from None

    def _plain_lines(self, segment: OpenSegment, offset: int, end: int, max_bytes: int) -> Lines:
        """Lines of format 1, which have no checksums."""
        position, size = offset - segment.base, min(end - segment.base, segment.limit)
        if position >= size:
            raise segment.lost_at(segment.limit, offset, end)
        if position > 0 and self._disk.pread(segment.fd, 1, position - 1) != b"\n":
            raise OutsideError(self._bases[0])
        return Lines(offset, whole_lines(self._disk, segment.fd, position, size, max_bytes))

    def _segment_of(self, offset: int, head: Head) -> tuple[OpenSegment, int]:
        """The open segment that holds `offset`, and the offset where it must end. Raises OutsideError."""
        place = bisect_right(self._bases, offset)
        if place == len(self._bases) and (not self._bases or self._bases[-1] < head.base):
            # Segments were begun since the folder was listed.
            self._rescan(head)
        place = bisect_right(self._bases, offset) - 1
        if place < 0:
            self._rescan(head)
            place = bisect_right(self._bases, offset) - 1
            if place < 0:
                raise OutsideError(self._first(head))
        base = self._bases[place]
        end = self._bases[place + 1] if place + 1 < len(self._bases) else head.end
        limit = head.position if base == head.base else None
        return self._opened(Segment(base, self._kinds[base]), limit), end

    def _opened(self, segment: Segment, limit: int | None) -> OpenSegment:
        found = self._open.get(segment.base)
        if found is None:
            fd = self._disk.open(segment.path(self._folder), os.O_RDONLY)
            found = self._open[segment.base] = OpenSegment(self._disk, segment, segment.path(self._folder), fd)
            if len(self._open) > _OPEN_MAX:
                self._disk.close(self._open.popitem(last=False)[1].fd)
        else:
            self._open.move_to_end(segment.base)
        found.limit_to(limit)
        return found

    def _first(self, head: Head) -> int:
        if not self._bases:
            self._rescan(head)
        return self._bases[0] if self._bases else head.end

    def _forget(self, head: Head) -> None:
        """Files were removed or replaced: look anew."""
        self._close_segments()
        self._rescan(head)
        self._generation = head.generation

    def _close_segments(self) -> None:
        while self._open:
            self._disk.close(self._open.popitem()[1].fd)

    def _rescan(self, head: Head) -> None:
        found = [segment for segment in segments_in(self._disk, self._folder) if segment.base <= head.base]
        self._bases = [segment.base for segment in found]
        self._kinds = {segment.base: segment.kind for segment in found}
