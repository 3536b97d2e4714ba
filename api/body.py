"""A request's body as NDJSON: bounded, decompressed, whichever of the accepted forms it came in."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec
import zstandard
from starlette.requests import Request

from api.problems import Problem

# Of decompressed events in one request. 8 MiB are some 30,000 events; a sender with more sends more requests.
BODY_BYTES_MAX: Final = 8 * 2**20
# No real event has under 80 bytes, so that no honest request has more lines than this.
LINES_MAX: Final = 100_000
# What a sender's compressor may make us hold: level 19 and below use this or less.
_ZSTD_WINDOW_MAX: Final = 8 * 2**20
_GZIP: Final = 31

_JSON: Final = frozenset({"", "application/json"})
_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain"})
_BOM: Final = b"\xef\xbb\xbf"

_one = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


async def read_body(request: Request) -> bytes:
    """The body as it came; raises Problem 413 as soon as it is too long."""
    announced = request.headers.get("content-length")
    if announced is not None and announced.isdigit() and int(announced) > BODY_BYTES_MAX:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding (gzip, zstd or none), never more than BODY_BYTES_MAX.

    Raises Problem: 413 too large once decompressed, 415 another encoding, 400 not what it says it is.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _gunzip(body)
        case "zstd":
            return _unzstd(body)
        case other:
            raise Problem(
                415, "unsupported_encoding", "Unsupported content encoding", f"{other!r} is not gzip or zstd."
            )


def to_lines(body: bytes, content_type: str) -> bytes:
    """One event a line, each line ended by a newline, from one JSON event, a JSON array or NDJSON.

    Raises Problem 415 for another content type, 413 for more than LINES_MAX lines, 400 for a broken array.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _JSON and media_type not in _LINES:
        detail = f"{media_type!r} is not application/json, application/x-ndjson or text/plain."
        raise Problem(415, "unsupported_media_type", "Unsupported content type", detail)
    body = body.removeprefix(_BOM)
    lines = body if media_type in _LINES else _json_to_lines(body)
    if lines.count(b"\n") > LINES_MAX:
        raise Problem(413, "too_many_lines", "Too many events", f"A request takes {LINES_MAX} lines; send several.")
    return lines if lines.endswith(b"\n") or not lines else lines + b"\n"


def _json_to_lines(body: bytes) -> bytes:
    text = body.strip()
    if text.startswith(b"["):
        return b"\n".join(_one_line(bytes(element)) for element in _elements(text))
    if b"\n" not in text or not _is_whole(text):
        # One event, or several lines under the content type of one: line numbers count from the body's first line.
        return body
    return _one_line(text)


def _is_whole(text: bytes) -> bool:
    """Is this one JSON value, spread over lines?"""
    try:
        _one.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _elements(array: bytes) -> list[msgspec.Raw]:
    try:
        return _array.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", "The array is not JSON", str(error)) from error


def _one_line(value: bytes) -> bytes:
    """The value without line ends; inside a JSON string there can be none."""
    return value if b"\n" not in value and b"\r" not in value else msgspec.json.format(value, indent=-1)


def _gunzip(body: bytes) -> bytes:
    plain = bytearray()
    rest = body
    # A gzip file may have several members, one behind the other (RFC 1952, section 2.2).
    while rest:
        member = zlib.decompressobj(_GZIP)
        try:
            plain += member.decompress(rest, BODY_BYTES_MAX + 1 - len(plain))
        except zlib.error as error:
            raise _bad_encoding("gzip", str(error)) from error
        if len(plain) > BODY_BYTES_MAX:
            raise _too_large()
        if not member.eof:
            raise _bad_encoding("gzip", "it ends early")
        rest = member.unused_data
    return bytes(plain)


def _unzstd(body: bytes) -> bytes:
    frames = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    plain = bytearray()
    try:
        with frames.stream_reader(body, read_across_frames=True) as reader:
            while len(plain) <= BODY_BYTES_MAX and (part := reader.read(BODY_BYTES_MAX + 1 - len(plain))):
                plain += part
    except zstandard.ZstdError as error:
        raise _bad_encoding("zstd", str(error)) from error
    if len(plain) > BODY_BYTES_MAX:
        raise _too_large()
    return bytes(plain)


def _too_large() -> Problem:
    detail = f"A request takes {BODY_BYTES_MAX} bytes of decompressed events; send several."
    return Problem(413, "too_large", "Too large", detail)


def _bad_encoding(encoding: str, detail: str) -> Problem:
    return Problem(400, "bad_encoding", "The body is not what Content-Encoding says", f"Not {encoding}: {detail}.")
