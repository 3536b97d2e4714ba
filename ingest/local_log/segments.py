"""Segment files: `<base offset, 20 digits>.ndjson`, one after the other without a gap; offset = base + position."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

_NAME = re.compile(r"^(\d{20})\.ndjson$")
# Bytes looked at in one step when the last newline of a file is sought.
_BACK_STEP = 64 * 1024


def segment_path(folder: Path, base: int) -> str:
    """Where the segment that starts at offset `base` is.

    >>> segment_path(Path("events/0"), 42)
    'events/0/00000000000000000042.ndjson'
    """
    return f"{folder}/{base:020d}.ndjson"


def segment_bases(folder: Path) -> list[int]:
    """First offsets of the segments in a partition's folder, ascending."""
    matches = (_NAME.match(name) for name in os.listdir(folder))
    return sorted(int(match[1]) for match in matches if match is not None)


def whole_bytes(fd: int, size: int) -> int:
    """How much of a file's first `size` bytes are whole lines: the place behind the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _BACK_STEP)
        if end == size and os.pread(fd, 1, size - 1) == b"\n":
            return size
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def whole_lines(fd: int, position: int, size: int, max_bytes: int) -> bytes:
    """Whole lines from `position` on, at most max_bytes but at least one; empty when there is no whole line."""
    wanted = max(1, max_bytes)
    piece = os.pread(fd, min(wanted, size - position), position)
    newline = piece.rfind(b"\n")
    while newline < 0 and position + wanted < size:
        # The first line is longer than what was asked for: it comes alone.
        wanted *= 4
        piece = os.pread(fd, min(wanted, size - position), position)
        newline = piece.find(b"\n")
    return piece if newline == len(piece) - 1 else piece[: newline + 1]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, content: bytes, *, fsync: bool) -> None:
    """Put a file in place whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(fd, content)
        if fsync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(unfinished, path)
    if fsync:
        sync_folder(path.parent)


def write_all(fd: int, content: bytes) -> None:
    """Write every byte; raises OSError when the disk takes no more, with a part written."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
