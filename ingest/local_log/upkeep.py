"""Upkeep of segments: old ones are removed, topics where the last record of a key wins are compacted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ingest.local_log.blocks import cut, encode_append
from ingest.local_log.disk import Disk
from ingest.local_log.open_segment import LostBytesError
from ingest.local_log.segments import (
    BLOCKS,
    LINES,
    Segment,
    Window,
    read_file,
    remove_segment,
    segments_in,
    stretches,
    write_atomically,
)
from ingest.local_log.writer import PartitionWriter


class Sealed(NamedTuple):
    """A segment that nothing is appended to any more, and its size on disk."""

    folder: Path
    base: int
    size_bytes: int
    # When the last record was written to it.
    written_ms: int


class _Keyed(msgspec.Struct):
    key: str


_keyed = msgspec.json.Decoder(_Keyed)


def sealed_segments(disk: Disk, folder: Path) -> list[Sealed]:
    """All segments of a partition but the one that is appended to."""
    found = []
    for segment in segments_in(disk, folder)[:-1]:
        try:
            state = disk.stat(segment.path(folder))
        except FileNotFoundError:
            continue
        found.append(Sealed(folder, segment.base, state.size_bytes, state.written_ms))
    return found


def expired(segments: Iterable[Sealed], *, oldest_ms: int, sealed_bytes_max: int) -> list[Sealed]:
    """The segments to remove: last written before `oldest_ms`, and the oldest ones beyond `sealed_bytes_max`.

    In a partition only the first ones go, whatever their times say, so that no gap appears.

    >>> old, new = (Sealed(Path("events/0"), base, 10, written_ms=base) for base in (0, 10))
    >>> [segment.base for segment in expired([new, old], oldest_ms=5, sealed_bytes_max=100)]
    [0]
    >>> [segment.base for segment in expired([new, old], oldest_ms=0, sealed_bytes_max=10)]
    [0]
    """
    kept_bytes = 0
    old: dict[Path, list[Sealed]] = {}
    kept_from: dict[Path, int] = {}
    for segment in sorted(segments, key=lambda segment: (segment.written_ms, segment.base), reverse=True):
        kept_bytes += segment.size_bytes
        if segment.written_ms < oldest_ms or kept_bytes > sealed_bytes_max:
            old.setdefault(segment.folder, []).append(segment)
        else:
            kept_from[segment.folder] = min(segment.base, kept_from.get(segment.folder, segment.base))
    return [
        segment for folder, found in old.items() for segment in found if segment.base < kept_from.get(folder, 2**63)
    ]


def remove(writer: PartitionWriter, bases: Iterable[int]) -> int:
    """Remove segments of a partition, the oldest first so that no gap appears; how many there were."""
    removed = 0
    with writer.exclusive():
        head = writer.settled()
        present = {segment.base for segment in segments_in(writer.disk, writer.folder)}
        for base in sorted(bases):
            if base in present and base != head.base:
                remove_segment(writer.disk, writer.folder, base)
                removed += 1
        if removed:
            writer.replaced(head)
    return removed


def compact(writer: PartitionWriter, *, now_ms: int) -> int:
    """Rewrite a partition as the last record of each key (JSON field "key"), in log order; its new first offset.

    The survivors go to a new segment behind the end, so offsets only rise; then the older segments are removed. A
    reader that stood inside them starts again at the new first offset. Records without a key are kept. Raises
    LostBytesError, and changes nothing, when a record is damaged.
    """
    disk = writer.disk
    with writer.exclusive():
        head = writer.settled()
        segments = segments_in(disk, writer.folder)
        survivors: dict[str | int, bytes] = {}
        for segment in segments:
            for place, line in enumerate(_lines_of(disk, writer.folder, segment)):
                key = _key_of(line, otherwise=segment.base + place)
                survivors.pop(key, None)
                survivors[key] = line + b"\n"
        if not survivors:
            return segments[0].base if segments else head.end
        payload = b"".join(survivors.values())
        content = encode_append(payload, cut(payload), head.end, now_ms)
        path = Segment(head.end, BLOCKS).path(writer.folder)
        write_atomically(disk, Path(path), content, fsync=writer.fsync)
        writer.replaced(head._replace(base=head.end, position=len(content), end=head.end + len(payload)))
        for segment in segments:
            if segment.base != head.end:
                remove_segment(disk, writer.folder, segment.base)
        return head.end


def _lines_of(disk: Disk, folder: Path, segment: Segment) -> Iterator[bytes]:
    path = segment.path(folder)
    if segment.kind == LINES:
        yield from read_file(disk, Path(path)).split(b"\n")[:-1]
        return
    fd = disk.open(path, os.O_RDONLY)
    try:
        window = Window(disk, fd, disk.fstat(fd).size_bytes)
        for stretch in stretches(window, 0, segment.base, segment.base):
            if not stretch.sound:
                raise LostBytesError(path, stretch.position, stretch.size_bytes, stretch.offset, stretch.end, None)
            yield from bytes(stretch.lines).split(b"\n")[:-1]
    finally:
        disk.close(fd)


def _key_of(line: bytes, *, otherwise: int) -> str | int:
    try:
        return _keyed.decode(line).key
    except msgspec.DecodeError:
        return otherwise
