"""ClickHouse's own compressed blocks (`compress=1`, `decompress=1`), as its drivers speak them over HTTP.

A block is a checksum of 16 bytes (CityHash128, as of version 1.0.2) over the rest, a byte that names the method, the
size of the packed block with these nine bytes, the size unpacked, and the packed bytes; numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import lz4.block
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128

from storage.service.bodies import too_large
from storage.service.compression import zstd_inflater
from storage.service.errors import CHECKSUM_DOESNT_MATCH, INCORRECT_DATA, UNKNOWN_COMPRESSION_METHOD, refused

LZ4: Final = 0x82
ZSTD: Final = 0x90
NONE: Final = 0x02
# As large as ClickHouse makes its own.
BLOCK_BYTES: Final = 2**20
# A block says itself how large it is unpacked; drivers send whole inserts as one.
UNPACKED_BYTES_MAX: Final = 64 * 2**20

_HEAD: Final = struct.Struct("<BII")
_CHECKSUM: Final = struct.Struct("<QQ")
_LOW: Final = 2**64 - 1


def _checksum(block: bytes) -> bytes:
    number: int = CityHash128(block)
    checksum: bytes = _CHECKSUM.pack(number >> 64, number & _LOW)
    return checksum


def _block(raw: bytes) -> bytes:
    packed: bytes = lz4.block.compress(raw, store_size=False)
    block = _HEAD.pack(LZ4, _HEAD.size + len(packed), len(raw)) + packed
    return _checksum(block) + block


def packed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as blocks of lz4; no bytes are no blocks."""
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_BYTES):
            yield _block(chunk[start : start + BLOCK_BYTES])


def unpacked(body: bytes, bytes_max: int, take: Callable[[int], None] = lambda _: None) -> bytes:
    """The bytes of a body of blocks; `take` is told of each block's size before it is unpacked.

    Raises ServiceError on a broken body, and on one that would be larger than `bytes_max`.
    """
    pieces: list[bytes] = []
    size = at = 0
    while at < len(body):
        start = at + _CHECKSUM.size
        if len(body) < start + _HEAD.size:
            raise refused(INCORRECT_DATA, "The compressed body ends in the head of a block.")
        method, packed_size, raw_size = _HEAD.unpack_from(body, start)
        end = start + packed_size
        if packed_size < _HEAD.size or end > len(body):
            raise refused(INCORRECT_DATA, "The compressed body ends in a block.")
        size += raw_size
        if size > bytes_max or raw_size > UNPACKED_BYTES_MAX:
            raise too_large(min(bytes_max, UNPACKED_BYTES_MAX))
        if body[at:start] != _checksum(body[start:end]):
            raise refused(CHECKSUM_DOESNT_MATCH, "Checksum of a compressed block doesn't match: corrupted data.")
        take(raw_size)
        pieces.append(_raw(method, body[start + _HEAD.size : end], raw_size))
        at = end
    return b"".join(pieces)


def _raw(method: int, packed_bytes: bytes, size: int) -> bytes:
    try:
        if method == LZ4:
            raw: bytes = lz4.block.decompress(packed_bytes, uncompressed_size=size)
        elif method == ZSTD:
            # One byte more than named, so that a longer one is seen and not cut.
            raw = zstd_inflater().decompress(packed_bytes, size + 1)
        elif method == NONE:
            raw = packed_bytes
        else:
            detail = f"A block's method is 0x{method:02x}; lz4 (0x82), zstd (0x90) and none (0x02) are spoken."
            raise refused(UNKNOWN_COMPRESSION_METHOD, detail)
    except (lz4.block.LZ4BlockError, zstd.ZstdError, ValueError, OverflowError, MemoryError) as error:
        raise refused(INCORRECT_DATA, f"A compressed block cannot be unpacked: {error}.") from error
    if len(raw) != size:
        raise refused(INCORRECT_DATA, f"A compressed block has {len(raw)} bytes and not the {size} it names.")
    return raw
