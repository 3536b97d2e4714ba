"""Segment files, one after the other without a gap, named by the offset of their first line.

`<base, 20 digits>.log` holds blocks as they were appended, `.zlog` the same lines in larger, compressed blocks;
`.ndjson` is a segment of format 1, lines without checksums, where offset = base + position.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ingest.local_log.blocks import GAP, HEADER_BYTES, MARK, Block, DamagedError, header_at
from ingest.local_log.disk import Disk, write_all

BLOCKS: Final = "log"
PACKED_BLOCKS: Final = "zlog"
LINES: Final = "ndjson"
# Where a replacement was in place and a kill came before the replaced was removed, the later of these counts.
_RANK: Final = (LINES, BLOCKS, PACKED_BLOCKS)
_NAME = re.compile(r"^(\d{20})\.(log|zlog|ndjson)$")
# Bytes looked at in one step when the last newline of a file is sought.
_BACK_STEP: Final = 64 * 1024
_READ_STEP: Final = 1 << 20


class Segment(NamedTuple):
    """A segment by its first offset and kind of file."""

    base: int
    kind: str

    def path(self, folder: Path) -> str:
        """Where it is.

        >>> Segment(42, BLOCKS).path(Path("events/0"))
        'events/0/00000000000000000042.log'
        """
        return f"{folder}/{self.base:020d}.{self.kind}"


def segments_in(disk: Disk, folder: Path) -> list[Segment]:
    """A partition's segments, ascending; none for a folder that is not there."""
    try:
        names = disk.listdir(str(folder))
    except FileNotFoundError:
        return []
    best: dict[int, Segment] = {}
    for match in map(_NAME.match, names):
        if match is not None:
            found = Segment(int(match[1]), match[2])
            other = best.get(found.base)
            if other is None or _RANK.index(found.kind) > _RANK.index(other.kind):
                best[found.base] = found
    return [best[base] for base in sorted(best)]


def remove_segment(disk: Disk, folder: Path, base: int) -> None:
    """Remove every file of a segment. Raises OSError."""
    for kind in _RANK:
        try:
            disk.unlink(Segment(base, kind).path(folder))
        except FileNotFoundError:
            continue


class Window:
    """Bytes of a file up to a limit, read ahead in large steps."""

    def __init__(self, disk: Disk, fd: int, limit: int, *, step_bytes: int = _READ_STEP) -> None:
        self._disk = disk
        self._fd = fd
        self._step_bytes = step_bytes
        self.limit = limit
        self._start = 0
        self._ahead = b""

    def bytes_at(self, position: int, size_bytes: int) -> bytes:
        """At most `size_bytes` from `position` on; fewer at the limit."""
        size_bytes = min(size_bytes, self.limit - position)
        start = position - self._start
        if start < 0 or start + size_bytes > len(self._ahead):
            wanted = min(max(size_bytes, self._step_bytes), self.limit - position)
            self._ahead = self._disk.pread(self._fd, wanted, position)
            self._start, start = position, 0
        return self._ahead[start : start + size_bytes]


class Stretch(NamedTuple):
    """Bytes of a segment file that are one sound block, or that are damaged.

    Of a damaged stretch `records` is known when its header is sound; `block` is None when it is not.
    """

    position: int
    size_bytes: int
    offset: int
    end: int
    sound: bool
    block: Block | None
    lines: bytes | memoryview = b""


def stretches(window: Window, position: int, offset: int, end: int) -> Iterator[Stretch]:
    """Walk the blocks from `position` (offset `offset`) to the window's limit, which should be offset `end`."""
    while position < window.limit:
        block = header_at(window.bytes_at(position, HEADER_BYTES))
        if block is None or block.offset != offset or position + block.size_bytes > window.limit:
            following = _next_header(window, position + 1, offset)
            until = window.limit if following is None else following[0]
            end_here = end if following is None else following[1].offset
            yield Stretch(position, until - position, offset, end_here, sound=False, block=None)
            position, offset = until, end_here
            continue
        try:
            stored = window.bytes_at(position + HEADER_BYTES, block.stored_bytes)
            lines = b"" if block.kind == GAP else block.lines(stored)
            yield Stretch(position, block.size_bytes, offset, block.end, sound=True, block=block, lines=lines)
        except DamagedError:
            yield Stretch(position, block.size_bytes, offset, block.end, sound=False, block=block)
        position += block.size_bytes
        offset = block.end
    if offset < end:
        yield Stretch(position, 0, offset, end, sound=False, block=None)


def _next_header(window: Window, position: int, offset: int) -> tuple[int, Block] | None:
    """The first sound header from `position` on that belongs behind `offset`, and where it is."""
    while position < window.limit:
        piece = window.bytes_at(position, _READ_STEP)
        place = piece.find(MARK)
        while place >= 0:
            block = header_at(window.bytes_at(position + place, HEADER_BYTES))
            if block is not None and block.offset >= offset and position + place + block.size_bytes <= window.limit:
                return position + place, block
            place = piece.find(MARK, place + 1)
        # The mark may lie across two pieces.
        position += max(1, len(piece) - len(MARK) + 1)
    return None


def whole_bytes(disk: Disk, fd: int, size: int) -> int:
    """How much of a file's first `size` bytes are whole lines: the place behind the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _BACK_STEP)
        if end == size and disk.pread(fd, 1, size - 1) == b"\n":
            return size
        newline = disk.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def whole_lines(disk: Disk, fd: int, position: int, size: int, max_bytes: int) -> bytes:
    """Whole lines from `position` on, at most max_bytes but at least one; empty when there is no whole line."""
    wanted = max(1, max_bytes)
    piece = disk.pread(fd, min(wanted, size - position), position)
    newline = piece.rfind(b"\n")
    while newline < 0 and position + wanted < size:
        # The first line is longer than what was asked for: it comes alone.
        wanted *= 4
        piece = disk.pread(fd, min(wanted, size - position), position)
        newline = piece.find(b"\n")
    return piece if newline == len(piece) - 1 else piece[: newline + 1]


def write_atomically(disk: Disk, path: Path, content: bytes, *, fsync: bool) -> None:
    """Put a file in place whole or not at all."""
    unfinished = write_unfinished(disk, path, content, fsync=fsync)
    disk.replace(unfinished, str(path))
    if fsync:
        disk.sync_folder(str(path.parent))


def unfinished_name(path: str) -> str:
    """A name beside `path` that no other thread or process uses."""
    return f"{path}.{os.getpid()}.{threading.get_ident()}.new"


def write_unfinished(disk: Disk, path: Path, content: bytes, *, fsync: bool) -> str:
    """Write a file beside `path`; returns its name."""
    unfinished = unfinished_name(str(path))
    fd = disk.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, fd, content)
        if fsync:
            disk.fsync(fd)
    finally:
        disk.close(fd)
    return unfinished


def read_file(disk: Disk, path: Path) -> bytes:
    """A whole file. Raises FileNotFoundError."""
    fd = disk.open(str(path), os.O_RDONLY)
    try:
        pieces = []
        position = 0
        while piece := disk.pread(fd, _READ_STEP, position):
            pieces.append(piece)
            position += len(piece)
        return b"".join(pieces)
    finally:
        disk.close(fd)
