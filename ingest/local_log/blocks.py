"""Blocks: what a segment consists of. A header that names its place and carries checksums, then whole lines.

An append becomes one block, or several when it is large. Sealed segments hold larger blocks, compressed. An offset
counts bytes of lines alone: headers and compression do not show in it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import zstandard

# Small enough that a reader of a few lines unpacks little, large enough that a header (48 bytes) is nothing.
BLOCK_BYTES: Final = 128 * 2**10
# Larger ones compress better: 256 KiB is within some percent of the whole file.
PACKED_BYTES: Final = 256 * 2**10
# 3 is zstd's own default: a higher level costs several times the time for a tenth of the size.
_LEVEL: Final = 3

PLAIN: Final = b"\xb5PB\x01"
PACKED: Final = b"\xb5PZ\x01"
# Stands for lines that were damaged and set aside by `penstock log repair`; nothing is stored.
GAP: Final = b"\xb5PG\x01"
_KINDS: Final = (PLAIN, PACKED, GAP)
# What all kinds begin with; no JSON text holds this byte.
MARK: Final = b"\xb5P"

_FIELDS = struct.Struct("<4sIIIQQQI")
_CHECK = struct.Struct("<I")
_HEADER = struct.Struct("<4sIIIQQQII")
HEADER_BYTES: Final = _HEADER.size


class DamagedError(Exception):
    """A block's content is not what was written."""


class Block(NamedTuple):
    """A block's header. `append_offset` is the offset of the first block that was appended together with this one."""

    kind: bytes
    stored_bytes: int
    line_bytes: int
    records: int
    offset: int
    append_offset: int
    written_ms: int
    checksum: int

    @property
    def size_bytes(self) -> int:
        """Bytes in the file, the header included."""
        return HEADER_BYTES + self.stored_bytes

    @property
    def end(self) -> int:
        """The offset behind its last line."""
        return self.offset + self.line_bytes

    def header(self) -> bytes:
        """The header as stored, with a checksum of its own."""
        fields = _FIELDS.pack(*self)
        return fields + _CHECK.pack(zlib.crc32(fields))

    def lines(self, stored: bytes | memoryview) -> bytes | memoryview:
        """The block's lines. Raises DamagedError."""
        if len(stored) != self.stored_bytes or zlib.crc32(stored) != self.checksum:
            raise DamagedError
        if self.kind == PLAIN:
            return stored
        try:
            lines = zstandard.ZstdDecompressor().decompress(stored, max_output_size=self.line_bytes)
        except zstandard.ZstdError as error:
            raise DamagedError from error
        if len(lines) != self.line_bytes:
            raise DamagedError
        return lines


def header_at(content: bytes, place: int = 0) -> Block | None:
    """The header at a place; None when there is no sound one."""
    if len(content) - place < HEADER_BYTES:
        return None
    *fields, checksum = _HEADER.unpack_from(content, place)
    if fields[0] not in _KINDS or zlib.crc32(content[place : place + _FIELDS.size]) != checksum:
        return None
    return Block._make(fields)


class Cut(NamedTuple):
    """Lines `start` to `end` of an append, which become one block."""

    start: int
    end: int
    records: int
    checksum: int


def cut(payload: bytes) -> list[Cut]:
    """Where whole lines are cut into blocks of at most BLOCK_BYTES; a longer line is a block of its own."""
    found = []
    view = memoryview(payload)
    start = 0
    while start < len(payload):
        end = start + BLOCK_BYTES
        if end < len(payload):
            end = payload.rfind(b"\n", start, end) + 1 or payload.find(b"\n", end) + 1
        end = min(end, len(payload))
        found.append(Cut(start, end, payload.count(b"\n", start, end), zlib.crc32(view[start:end])))
        start = end
    return found


def encode_append(payload: bytes, cuts: list[Cut], offset: int, written_ms: int) -> bytes:
    """Whole lines as blocks.

    >>> lines = b"one\\ntwo\\n"
    >>> block = header_at(encode_append(lines, cut(lines), 40, written_ms=7))
    >>> (block.offset, block.end, block.records)
    (40, 48, 2)
    """
    pieces: list[bytes | memoryview] = []
    view = memoryview(payload)
    for start, end, records, checksum in cuts:
        size = end - start
        pieces.append(Block(PLAIN, size, size, records, offset + start, offset, written_ms, checksum).header())
        pieces.append(view[start:end])
    return b"".join(pieces)


def packed(lines: bytes, records: int, offset: int, written_ms: int) -> bytes:
    """Whole lines as one compressed block."""
    stored = zstandard.ZstdCompressor(level=_LEVEL).compress(lines)
    block = Block(PACKED, len(stored), len(lines), records, offset, offset, written_ms, zlib.crc32(stored))
    return block.header() + stored


def gap(offset: int, line_bytes: int, records: int, written_ms: int) -> bytes:
    """A block in place of lines that were set aside."""
    return Block(GAP, 0, line_bytes, records, offset, offset, written_ms, zlib.crc32(b"")).header()
