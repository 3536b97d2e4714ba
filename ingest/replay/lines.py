"""Lines of recorded files: plain, gzip or zstd, told apart by their first bytes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import zstandard

from schemas.events import EVENT_BYTES_MAX

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# Compressed bytes unpacked at once.
_ZSTD_STEP: Final = 64 * 1024
# A longer line is no event; its start is enough to say which it was.
_LINE_BYTES_MAX: Final = 4 * EVENT_BYTES_MAX
# What reading a compressed file raises that is cut short or damaged.
DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


class Line(NamedTuple):
    """One line of a file, its number from 1, without its end."""

    path: Path
    number: int
    content: bytes


class BadLine(NamedTuple):
    """A line that is no event, and why."""

    path: Path
    number: int
    reason: str


class RecordedFile:
    """A file of lines. `read_bytes` tells how much of it, compressed as it is, was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size
        self._raw: IO[bytes] | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes of the file read so far, for progress."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def lines(self) -> Iterator[Line | BadLine]:
        """The lines that are not blank; a file cut short or damaged ends with a BadLine. Raises OSError."""
        number = 0
        with self.path.open("rb") as raw:
            self._raw = raw
            try:
                text = decompressed(raw)
                while content := text.readline(_LINE_BYTES_MAX):
                    number += 1
                    if len(content) == _LINE_BYTES_MAX and not content.endswith(b"\n"):
                        _skip_line(text)
                        yield BadLine(self.path, number, f"the line has more than {_LINE_BYTES_MAX} bytes")
                    elif stripped := content.strip():
                        yield Line(self.path, number, stripped)
            except DAMAGED as error:
                yield BadLine(self.path, number + 1, f"the compressed file is cut short or damaged: {error}")


def decompressed(raw: IO[bytes]) -> Any:
    """The file's content, unpacked when it begins like gzip or zstd."""
    start = raw.read(4)
    raw.seek(0)
    if start.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=raw)
    if start == _ZSTD_MAGIC:
        return io.BufferedReader(_ZstdFrames(raw), buffer_size=_ZSTD_STEP)
    return raw


class _ZstdFrames(io.RawIOBase):
    """The content of zstd frames; unlike the library's own reader it tells a file that is cut short by EOFError."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_inside = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            packed = self._raw.read(_ZSTD_STEP)
            if not packed:
                if self._is_inside:
                    raise EOFError("the last frame has no end")
                return 0
            self._ready = self._unpacked(packed)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpacked(self, packed: bytes) -> bytes:
        parts = []
        while packed:
            parts.append(self._frame.decompress(packed))
            self._is_inside = not self._frame.eof
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        return b"".join(parts)


def _skip_line(text: Any) -> None:
    while (rest := text.readline(_LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass
