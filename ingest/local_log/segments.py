"""Segment files: `<base offset, 20 digits>.ndjson`, one after the other without a gap; offset = base + position."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

from ingest.local_log.disk import Disk, write_all

_NAME = re.compile(r"^(\d{20})\.ndjson$")
# Bytes looked at in one step when the last newline of a file is sought.
_BACK_STEP = 64 * 1024
_READ_STEP = 1 << 20


def segment_path(folder: Path, base: int) -> str:
    """Where the segment that starts at offset `base` is.

    >>> segment_path(Path("events/0"), 42)
    'events/0/00000000000000000042.ndjson'
    """
    return f"{folder}/{base:020d}.ndjson"


def segment_bases(disk: Disk, folder: Path) -> list[int]:
    """First offsets of the segments in a partition's folder, ascending."""
    matches = (_NAME.match(name) for name in disk.listdir(str(folder)))
    return sorted(int(match[1]) for match in matches if match is not None)


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


def write_unfinished(disk: Disk, path: Path, content: bytes, *, fsync: bool) -> str:
    """Write a file beside `path`, under a name that no other thread or process uses; returns that name."""
    unfinished = f"{path}.{os.getpid()}.{threading.get_ident()}.new"
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
