"""Compressed bodies, both ways, by the names that HTTP has for them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

import lz4.frame
import zstandard

from storage.service.errors import INCORRECT_DATA, UNKNOWN_COMPRESSION_METHOD, refused


class _Compressor(Protocol):
    def compress(self, raw: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4Frame:
    """lz4's frame compressor begins explicitly; this one begins with its first bytes."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, raw: bytes) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        self._begun = True
        return bytes(head + self._frame.compress(raw))

    def flush(self) -> bytes:
        return (b"" if self._begun else self.compress(b"")) + bytes(self._frame.flush())


# gzip's window size (15) and the 16 that asks zlib for gzip's header.
_GZIP_WINDOW: Final = 31
_COMPRESSORS: Final[dict[str, Callable[[], Any]]] = {
    "lz4": _Lz4Frame,
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "gzip": lambda: zlib.compressobj(3, zlib.DEFLATED, _GZIP_WINDOW),
    "deflate": lambda: zlib.compressobj(3),
}


def _unzstd(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(body)


_DECOMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "lz4": lz4.frame.decompress,
    "zstd": _unzstd,
    "gzip": gzip.decompress,
    "x-gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def decompressed(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding; raises ServiceError on an unknown one or on a broken body."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _DECOMPRESSORS:
        raise refused(
            UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {encoding}: use one of {', '.join(_DECOMPRESSORS)}."
        )
    try:
        return _DECOMPRESSORS[name](body)
    except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
        raise refused(INCORRECT_DATA, f"The body is not {name}: {error}.") from error


def chosen(accept_encoding: str) -> str | None:
    """The encoding for an answer: the first of what the client accepts that there is; None for none.

    >>> chosen("br, zstd;q=0.9, gzip"), chosen("identity"), chosen("gzip;q=0")
    ('zstd', None, None)
    """
    for offer in accept_encoding.split(","):
        name, _, quality = offer.strip().partition(";")
        if name.strip().lower() in _COMPRESSORS and quality.replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip().lower()
    return None


def compressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks as one compressed stream."""
    compressor: _Compressor = _COMPRESSORS[encoding]()
    for chunk in chunks:
        if small := compressor.compress(chunk):
            yield small
    yield compressor.flush()
