"""Content-Encoding taken off in small steps, each of which may be the last."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from api.body.zstd_frames import WINDOW_BYTES_MAX, BadFramesError, check_frames
from api.problems import Problem

# A gzip file may have several members (RFC 1952, section 2.2), as of shippers that append one a flush. Each starts
# afresh, so that millions of empty ones would be work without a byte to show for it.
MEMBERS_MAX: Final = 1_024
# Taken in at once; what is left behind a member is copied, so that it is kept small.
STEP_IN_BYTES: Final = 32 * 1024
# Given out at once; between two steps we look whether the sender is still there.
STEP_OUT_BYTES: Final = 256 * 1024
_GZIP: Final = 31

ENCODINGS: Final = "gzip or zstd"


def _never() -> None:
    """Whoever asked is still there."""


def decompress(body: bytes, encoding: str, bytes_max: int, still_wanted: Callable[[], None] = _never) -> bytes:
    """The body without its Content-Encoding (gzip, zstd or none), never more than `bytes_max`.

    `still_wanted` is called at every step and may raise, to end the work. Raises Problem: 413 too large once
    decompressed, 415 another encoding, 400 not what it says it is.
    """
    match encoding.strip().lower():
        case "" | "identity":
            if len(body) > bytes_max:
                raise too_large(bytes_max)
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body, bytes_max, still_wanted)
        case "zstd":
            return _unzstd(body, bytes_max, still_wanted)
        case other:
            detail = f"{other[:40]!r} is not {ENCODINGS}."
            raise Problem(415, "unsupported_encoding", "Unsupported content encoding", detail)


def _gunzip(body: bytes, bytes_max: int, still_wanted: Callable[[], None]) -> bytes:
    plain = bytearray()
    whole = memoryview(body)
    place = members = 0
    while place < len(body):
        members += 1
        if members > MEMBERS_MAX:
            raise _bad_encoding("gzip", f"it has more than {MEMBERS_MAX} members")
        place = _one_member(whole, place, plain, bytes_max, still_wanted)
    return bytes(plain)


def _one_member(
    body: memoryview, place: int, plain: bytearray, bytes_max: int, still_wanted: Callable[[], None]
) -> int:
    """Decompress the member that begins at `place` to the end of `plain`; returns the place behind it."""
    member = zlib.decompressobj(_GZIP)
    while not member.eof:
        still_wanted()
        step = body[place : place + STEP_IN_BYTES]
        room = min(STEP_OUT_BYTES, bytes_max + 1 - len(plain))
        try:
            part = member.decompress(step, room)
        except zlib.error as error:
            raise _bad_encoding("gzip", str(error)) from error
        plain += part
        if len(plain) > bytes_max:
            raise too_large(bytes_max)
        # Behind the end of a member zlib gives the rest as both.
        taken = len(step) - len(member.unused_data if member.eof else member.unconsumed_tail)
        if not (taken or part or member.eof):
            raise _bad_encoding("gzip", "it ends early")
        place += taken
    return place


def _unzstd(body: bytes, bytes_max: int, still_wanted: Callable[[], None]) -> bytes:
    try:
        check_frames(body)
    except BadFramesError as error:
        raise _bad_encoding("zstd", f"it {error}") from error
    frames = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    plain = bytearray()
    try:
        with frames.stream_reader(body, read_across_frames=True) as reader:
            while part := reader.read(min(STEP_OUT_BYTES, bytes_max + 1 - len(plain))):
                still_wanted()
                plain += part
                if len(plain) > bytes_max:
                    raise too_large(bytes_max)
    except zstandard.ZstdError as error:
        raise _bad_encoding("zstd", str(error)) from error
    return bytes(plain)


def too_large(bytes_max: int) -> Problem:
    """More than the route takes."""
    detail = f"A request here takes {bytes_max} bytes, also once decompressed; send less, or several."
    return Problem(413, "too_large", "Too large", detail)


def _bad_encoding(encoding: str, detail: str) -> Problem:
    return Problem(400, "bad_encoding", "The body is not what Content-Encoding says", f"Not {encoding}: {detail}.")
