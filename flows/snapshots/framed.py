"""Append-only files of frames beside the recovery store: what a snapshot names is there, what is behind it is cut off.

Each frame: length and CRC-32 of its payload, 4 bytes each, little-endian, then the payload. The CRC of a frame starts
from that of the frame before, so a frame of another history does not fit.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

_HEAD: Final = struct.Struct("<II")
HEAD_BYTES: Final = _HEAD.size
# Snapshots after which a file that none of them names is removed: the recovery store goes back one or two at most.
_KEEP_SNAPSHOTS: Final = 16

Sync = Callable[[int], None]


class StateDamagedError(Exception):
    """Files of state are not what the snapshot says; the message says what to do."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} {what}, so the state in the recovery store is not whole. Bring the file back from a backup, or "
            "run `penstock flow --rewind`: the state is put aside, and the next start makes it anew from all that the "
            "log holds"
        )


def framed(payload: bytes, crc: int) -> tuple[bytes, int]:
    """A frame behind one whose CRC was `crc`, and its own CRC."""
    crc = zlib.crc32(payload, crc)
    return _HEAD.pack(len(payload), crc) + payload, crc


def payload_at(path: Path, whole: bytes, place: int, crc: int) -> tuple[bytes, int]:
    """The payload of the frame at a place of a file, and its CRC. Raises StateDamagedError."""
    head = whole[place : place + _HEAD.size]
    if len(head) == _HEAD.size:
        length, wanted = _HEAD.unpack(head)
        payload = whole[place + _HEAD.size : place + _HEAD.size + length]
        if len(payload) == length and zlib.crc32(payload, crc) == wanted:
            return payload, wanted
    raise StateDamagedError(path, f"is damaged at byte {place}")


def payloads(path: Path, size: int, crc: int) -> Iterator[bytes]:
    """The payloads of the first `size` bytes of a file, whose last frame has this CRC. Raises StateDamagedError."""
    try:
        # A file that was only just begun is not there yet.
        whole = path.read_bytes()[:size] if size else b""
    except FileNotFoundError:
        raise StateDamagedError(path, "is missing") from None
    if len(whole) < size:
        raise StateDamagedError(path, f"has {len(whole)} bytes of {size}")
    place, last = 0, 0
    while place < size:
        payload, last = payload_at(path, whole, place, last)
        place += _HEAD.size + len(payload)
        yield payload
    if last != crc:
        raise StateDamagedError(path, "is of another history")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, their names durable."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


class Appender:
    """Writes frames behind what is known to be whole of a file; one file at a time is open."""

    def __init__(self, sync: Sync = os.fdatasync) -> None:
        self._sync = sync
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def append(self, path: Path, size: int, frames: Iterable[bytes]) -> None:
        """Write at `size`; durable when this returns. Raises OSError: what was written halfway is written over."""
        file = self._opened(path, size)
        file.seek(size)
        for frame in frames:
            file.write(frame)
        file.flush()
        self._sync(file.fileno())

    def _opened(self, path: Path, size: int) -> BinaryIO:
        if self._file is None or self._path != path:
            self.close()
            make_folder(path.parent)
            file = path.open("r+b" if size else "w+b")
            sync_folder(path.parent)
            self._file, self._path = file, path
        return self._file

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Unnamed:
    """Files that snapshots name no more; they go once the recovery store cannot go back to one that did."""

    def __init__(self) -> None:
        # How many snapshots ago they were last named.
        self._ages: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        """A file that the next snapshot does not name."""
        self._ages[path] = 0

    def snapshot_taken(self) -> None:
        """One snapshot later."""
        for path, age in list(self._ages.items()):
            if age >= _KEEP_SNAPSHOTS:
                path.unlink(missing_ok=True)
                del self._ages[path]
            else:
                self._ages[path] = age + 1
