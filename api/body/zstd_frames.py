"""The frames of a zstd body, walked before anything is decompressed (RFC 8878, section 3)."""

from __future__ import annotations

from typing import Final

# A sender may put one frame behind the other; no honest one has thousands in a request, as each costs a fresh start.
FRAMES_MAX: Final = 1_024
# A block a flush, and no request has more events than a hundred thousand.
BLOCKS_MAX: Final = 131_072
# What a sender's compressor may make us hold: level 19 and below use this or less.
WINDOW_BYTES_MAX: Final = 8 * 2**20

_MAGIC: Final = 0xFD2FB528
_SKIPPABLE: Final = 0x184D2A50
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_CONTENT_BYTES: Final = (0, 2, 4, 8)
_RLE: Final = 1
_RESERVED: Final = 3


class BadFramesError(ValueError):
    """The body is not whole zstd frames within the bounds; the message says why, in words that follow "it"."""


def check_frames(body: bytes) -> int:
    """How many frames the body has, skippable ones included.

    Raises BadFramesError when there are too many frames or blocks, or when the last frame is not whole. The window is
    left to the decompressor, which is told of WINDOW_BYTES_MAX.
    """
    place = frames = blocks = 0
    while place < len(body):
        frames += 1
        if frames > FRAMES_MAX:
            raise BadFramesError(f"has more than {FRAMES_MAX} frames")
        magic = _number(body, place, 4)
        if magic & ~0xF == _SKIPPABLE:
            place += 8 + _number(body, place + 4, 4)
        elif magic == _MAGIC:
            place, blocks = _after_frame(body, place + 4, blocks)
        else:
            raise BadFramesError("is something else")
    if place > len(body):
        raise BadFramesError("ends early")
    return frames


def _after_frame(body: bytes, place: int, blocks: int) -> tuple[int, int]:
    """The place behind a frame whose magic number is behind us, and the blocks counted on."""
    descriptor = _number(body, place, 1)
    single_segment = descriptor >> 5 & 1
    content = _CONTENT_BYTES[descriptor >> 6] or single_segment
    place += 1 + (not single_segment) + _DICTIONARY_BYTES[descriptor & 3] + content
    last = 0
    while not last:
        blocks += 1
        if blocks > BLOCKS_MAX:
            raise BadFramesError(f"has more than {BLOCKS_MAX} blocks")
        header = _number(body, place, 3)
        last, kind = header & 1, header >> 1 & 3
        if kind == _RESERVED:
            raise BadFramesError("has a block of an unknown kind")
        place += 3 + (1 if kind == _RLE else header >> 3)
    return place + 4 * (descriptor >> 2 & 1), blocks


def _number(body: bytes, place: int, size: int) -> int:
    if place + size > len(body):
        raise BadFramesError("ends early")
    return int.from_bytes(body[place : place + size], "little")
