"""Compressing sealed segments: in the background, one at a time on a machine, replaced in one step.

The compressed file is written beside the segment and synced, then renamed to `<base>.zlog`, then the segment is
removed. After a kill at any point there is a whole segment, or both, of which readers take the compressed one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingest.local_log.blocks import GAP, PACKED_BYTES, gap, packed
from ingest.local_log.disk import Disk, write_all
from ingest.local_log.segments import (
    LINES,
    PACKED_BLOCKS,
    Segment,
    Window,
    segments_in,
    stretches,
    unfinished_name,
    whole_bytes,
    whole_lines,
)
from ingest.local_log.writer import PartitionWriter

# Of a core at most half: after each block it rests for as long as the block took.
_REST: Final = 1.0
# Behind everything else that wants the core.
_NICE: Final = 10

_log = logging.getLogger(__name__)


def compress_sealed(writer: PartitionWriter, rest: Callable[[float], None] = lambda _: None) -> int:
    """Compress the sealed segments of a partition; how many there were. Only one caller at a time on a machine.

    `rest` is called with the seconds that each block took. A damaged segment stays as it is, for `penstock log check`.
    """
    disk, folder = writer.disk, writer.folder
    _sweep(disk, folder)
    done = 0
    for segment in segments_in(disk, folder)[:-1]:
        if segment.kind == PACKED_BLOCKS:
            continue
        try:
            done += _compress(writer, segment, rest)
        except FileNotFoundError:
            # Retention or compaction removed it meanwhile.
            continue
    return done


def _compress(writer: PartitionWriter, segment: Segment, rest: Callable[[float], None]) -> bool:
    disk, folder = writer.disk, writer.folder
    path, target = segment.path(folder), segment._replace(kind=PACKED_BLOCKS).path(folder)
    unfinished = unfinished_name(target)
    written_ms = disk.stat(path).written_ms
    fd = disk.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        try:
            for block in _packed_blocks(disk, path, segment, written_ms, rest):
                write_all(disk, fd, block)
            disk.fsync(fd)
        finally:
            disk.close(fd)
        disk.set_written(unfinished, written_ms)
        with writer.exclusive():
            head = writer.settled()
            if head.base == segment.base or not disk.exists(path):
                disk.unlink(unfinished)
                return False
            disk.replace(unfinished, target)
            disk.sync_folder(str(folder))
            disk.unlink(path)
            writer.replaced(head)
    except (OSError, _DamagedSegmentError) as error:
        with suppress(OSError):
            disk.unlink(unfinished)
        if isinstance(error, FileNotFoundError):
            raise
        _log.warning("%s stays uncompressed: %s", path, error)
        return False
    return True


class _DamagedSegmentError(Exception):
    """The segment cannot be read to its end."""


def _packed_blocks(
    disk: Disk, path: str, segment: Segment, written_ms: int, rest: Callable[[float], None]
) -> Iterator[bytes]:
    """The segment's lines in larger, compressed blocks; gaps as they are."""
    pieces: list[bytes | memoryview] = []
    start, at, records, since_ms = segment.base, segment.base, 0, written_ms
    fd = disk.open(path, os.O_RDONLY)

    def flushed() -> bytes:
        began = time.perf_counter()
        block = packed(b"".join(pieces), records, start, since_ms)
        rest(time.perf_counter() - began)
        return block

    try:
        for lines, count, block_ms, is_gap in _lines(disk, fd, segment, written_ms):
            if pieces and (is_gap or at - start >= PACKED_BYTES):
                yield flushed()
                pieces, records, start = [], 0, at
            if is_gap:
                at += is_gap
                yield gap(start, is_gap, count, block_ms)
                start = at
                continue
            since_ms = since_ms if pieces else block_ms
            pieces.append(lines)
            records += count
            at += len(lines)
        if pieces:
            yield flushed()
    finally:
        disk.close(fd)


def _lines(
    disk: Disk, fd: int, segment: Segment, written_ms: int
) -> Iterator[tuple[bytes | memoryview, int, int, int]]:
    """Lines, how many, when written, and for a gap how many bytes of lines it stands for."""
    size = disk.fstat(fd).size_bytes
    if segment.kind == LINES:
        position, end = 0, whole_bytes(disk, fd, size)
        while position < end:
            lines = whole_lines(disk, fd, position, end, PACKED_BYTES)
            yield lines, lines.count(b"\n"), written_ms, 0
            position += len(lines)
        return
    for stretch in stretches(Window(disk, fd, size), 0, segment.base, segment.base):
        block = stretch.block
        if not stretch.sound or block is None:
            raise _DamagedSegmentError(f"it is damaged at byte {stretch.position}; see `penstock log check`")
        yield stretch.lines, block.records, block.written_ms, block.line_bytes if block.kind == GAP else 0


def _sweep(disk: Disk, folder: Path) -> None:
    """Remove what a killed compression left."""
    for name in disk.listdir(str(folder)):
        if f".{PACKED_BLOCKS}." in name and name.endswith(".new"):
            with suppress(FileNotFoundError):
                disk.unlink(f"{folder}/{name}")


class Compressor:
    """Runs compression in a thread of this process, when told that there may be something to do."""

    def __init__(self, disk: Disk, root: Path, writers: Callable[[], Iterable[PartitionWriter]]) -> None:
        self._disk = disk
        self._lock_path = f"{root}/compress.lock"
        self._writers = writers
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()

    def wake(self) -> None:
        """A segment was sealed."""
        self._wake.set()
        with self._start:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="compress", daemon=True)
                self._thread.start()

    def compress_all(self, rest: Callable[[float], None] = lambda _: None) -> int:
        """Compress what is sealed in every partition; 0 when another process is at it."""
        fd = self._disk.open(self._lock_path, os.O_RDWR | os.O_CREAT)
        try:
            if not self._disk.try_lock(fd):
                return 0
            return sum(compress_sealed(writer, rest) for writer in self._writers())
        finally:
            self._disk.close(fd)

    def close(self) -> None:
        """End the thread at its next block."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self.compress_all(self._rest)
            except _ClosedError:
                return
            except OSError as error:
                _log.warning("segments are not compressed now: %s", error)

    def _rest(self, took_s: float) -> None:
        if self._closed.wait(_REST * took_s):
            raise _ClosedError


class _ClosedError(Exception):
    """The log was closed meanwhile."""
