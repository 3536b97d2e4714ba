"""Compressed bodies, both ways, by the names that HTTP has for them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

import lz4.frame
import zstandard
from backports import zstd

from storage.service.bodies import too_large
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


# What a compressor may ask a reader to remember: 8 MiB, as much as every decoder must offer.
_ZSTD_WINDOW_LOG_MAX: Final = 23
# Fed to a decompressor at once, and taken from it at once.
_STEP_BYTES: Final = 64 * 1024
# A body is one member, or one a block for parallel packers; millions of empty ones are an attack.
_MEMBERS_MAX: Final = 10_000


class Inflater(Protocol):
    """A decompressor that hands over a bounded piece at a time."""

    @property
    def eof(self) -> bool:
        """Its end is reached."""
        ...

    @property
    def unused_data(self) -> bytes | None:
        """What follows its end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes; the rest stays inside."""
        ...


class _Zlib:
    """zlib's decompressor, which keeps what it could not hand over apart, as one that keeps it itself."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _members(body: bytes, made: Callable[[], Inflater]) -> Iterator[bytes]:
    """The body's members unpacked, in pieces of at most _STEP_BYTES."""
    at, members = 0, 0
    while at < len(body) or not members:
        members += 1
        if members > _MEMBERS_MAX:
            raise ValueError(f"more than {_MEMBERS_MAX} members")
        inflater = made()
        while not inflater.eof:
            fed = body[at : at + _STEP_BYTES]
            at += len(fed)
            piece = inflater.decompress(fed, _STEP_BYTES)
            yield piece
            # Much may come of little: take it all before feeding more.
            while len(piece) == _STEP_BYTES and not inflater.eof:
                piece = inflater.decompress(b"", _STEP_BYTES)
                yield piece
            if not fed and not inflater.eof:
                raise EOFError("it ends in the middle")
        at -= len(inflater.unused_data or b"")


def zstd_inflater() -> Inflater:
    """zstd's decompressor, with a bound on what a body may make it remember."""
    options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG_MAX}
    inflater: Inflater = zstd.ZstdDecompressor(options=options)
    return inflater


def _lz4_inflater() -> Inflater:
    inflater: Inflater = lz4.frame.LZ4FrameDecompressor()
    return inflater


_PIECES: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "lz4": lambda body: _members(body, _lz4_inflater),
    "zstd": lambda body: _members(body, zstd_inflater),
    "gzip": lambda body: _members(body, lambda: _Zlib(_GZIP_WINDOW)),
    "x-gzip": lambda body: _members(body, lambda: _Zlib(_GZIP_WINDOW)),
    "deflate": lambda body: _members(body, lambda: _Zlib(zlib.MAX_WBITS)),
}


def decompressed(body: bytes, encoding: str, bytes_max: int, take: Callable[[int], None] = lambda _: None) -> bytes:
    """The body without its Content-Encoding, unpacked piece by piece; `take` is told of each piece before the next.

    Raises ServiceError on an unknown encoding, on a broken body, and on one that would be larger than `bytes_max`.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _PIECES:
        raise refused(UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {encoding[:40]}: use one of {', '.join(_PIECES)}.")
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _PIECES[name](body):
            size += len(piece)
            if size > bytes_max:
                raise too_large(bytes_max)
            take(len(piece))
            pieces.append(piece)
    except (OSError, EOFError, RuntimeError, ValueError, zlib.error, zstd.ZstdError) as error:
        raise refused(INCORRECT_DATA, f"The body is not {name}: {error}.") from error
    return b"".join(pieces)


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


def packer(encoding: str | None) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """What turns an answer's blocks into those that are sent."""
    return iter if encoding is None else lambda blocks: compressed(blocks, encoding)


def compressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks as one compressed stream."""
    compressor: _Compressor = _COMPRESSORS[encoding]()
    for chunk in chunks:
        if small := compressor.compress(chunk):
            yield small
    yield compressor.flush()
