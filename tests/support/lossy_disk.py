"""A disk that can lose power: real files below, and a memory of what was synced of each."""

from __future__ import annotations

import os
import random
from pathlib import Path

from ingest.local_log.disk import RealDisk


class LossyDisk(RealDisk):
    """`lose_power` leaves of each file what was synced and a torn part of what was written behind it."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}
        self._synced: dict[str, bytes] = {}
        # What to do just before a sync takes effect.
        self.before_sync = lambda: None

    def open(self, path: str, flags: int) -> int:
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def fdatasync(self, fd: int) -> None:
        self.before_sync()
        self._synced[self._paths[fd]] = Path(self._paths[fd]).read_bytes()

    def fsync(self, fd: int) -> None:
        self.fdatasync(fd)

    def replace(self, source: str, target: str) -> None:
        super().replace(source, target)
        self._synced[target] = self._synced.pop(source, b"")

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self._synced[target] = self._synced.get(source, b"")

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._synced.pop(path, None)

    def lose_power(self, root: Path, rng: random.Random) -> None:
        """The files as they are after the machine came up again. Whoever has the log open must open it anew."""
        for path in (path for path in sorted(root.rglob("*")) if path.is_file()):
            written, synced = path.read_bytes(), self._synced.get(str(path), b"")
            if written.startswith(synced):
                path.write_bytes(synced + _torn(written[len(synced) :], rng))
            elif rng.random() < 0.5:
                path.write_bytes(synced)


def _torn(content: bytes, rng: random.Random) -> bytes:
    """Some prefix, with perhaps a hole of zeros in it, as of a page that was not written."""
    kept = bytearray(content[: rng.randint(0, len(content))])
    if kept and rng.random() < 0.5:
        start = rng.randrange(len(kept))
        end = min(len(kept), start + rng.randint(1, 4_096))
        kept[start:end] = bytes(end - start)
    return bytes(kept)


def flip_bit(path: Path, position: int) -> None:
    """Change one bit of a file, as a failing disk does."""
    fd = os.open(path, os.O_RDWR)
    try:
        (byte,) = os.pread(fd, 1, position)
        os.pwrite(fd, bytes([byte ^ 1]), position)
    finally:
        os.close(fd)
