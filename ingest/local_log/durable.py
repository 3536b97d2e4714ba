"""The durable end: how far readers of a partition may read, published by its writers in a small shared file.

The file itself is not synced. After a power loss it may be old or broken; then whoever comes first settles the
partition anew (`ingest.local_log.settle`), so that it is never ahead of the disk and soon no longer behind it.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, NamedTuple

from ingest.local_log.disk import Disk

_FIELDS = struct.Struct("<4sQQQQ")
_CHECK = struct.Struct("<I")
_MARK: Final = b"PnD\x01"
_SIZE: Final = _FIELDS.size + _CHECK.size
# A reader that looks while the bytes change looks again.
_LOOKS: Final = 3


class Head(NamedTuple):
    """`end` is the durable end, `base` the last segment's first offset, `position` the size of its durable part.

    `generation` rises whenever segments are removed or replaced: what a reader remembers of files is then void.
    """

    generation: int
    base: int
    position: int
    end: int


class DurableEnd:
    """The file `durable` of one partition."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._path = f"{folder}/durable"
        self._fd: int | None = None

    def read(self) -> Head | None:
        """What was published last; None when there is nothing sound."""
        fd = self._opened()
        for _ in range(_LOOKS):
            content = self._disk.pread(fd, _SIZE, 0)
            if len(content) != _SIZE:
                return None
            mark, *numbers = _FIELDS.unpack_from(content)
            if mark == _MARK and zlib.crc32(content[: _FIELDS.size]) == _CHECK.unpack_from(content, _FIELDS.size)[0]:
                return Head(*numbers)
        return None

    def publish(self, head: Head) -> None:
        """Let readers see up to `head.end`; what is before it must be durable. Only under the partition's lock."""
        fields = _FIELDS.pack(_MARK, *head)
        content = fields + _CHECK.pack(zlib.crc32(fields))
        taken = self._disk.pwrite(self._opened(), content, 0)
        if taken != _SIZE:
            raise OSError(f"only {taken} of {_SIZE} bytes of {self._path} were written")

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            self._disk.close(self._fd)
            self._fd = None

    def _opened(self) -> int:
        if self._fd is None:
            self._fd = self._disk.open(self._path, os.O_RDWR | os.O_CREAT)
        return self._fd
