"""Upkeep of segments: old ones are removed, topics where the last record of a key wins are compacted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from ingest.local_log.disk import Disk
from ingest.local_log.segments import read_file, segment_bases, segment_path, write_atomically
from ingest.local_log.writer import PartitionWriter


class Segment(NamedTuple):
    """A segment that nothing is appended to any more."""

    folder: Path
    base: int
    size_bytes: int
    # When the last record was written to it.
    written_ms: int


class _Keyed(msgspec.Struct):
    key: str


_keyed = msgspec.json.Decoder(_Keyed)


def sealed_segments(disk: Disk, folder: Path) -> list[Segment]:
    """All segments of a partition but the one that is appended to."""
    found = []
    for base in segment_bases(disk, folder)[:-1]:
        try:
            state = disk.stat(segment_path(folder, base))
        except FileNotFoundError:
            continue
        found.append(Segment(folder, base, state.size_bytes, state.written_ms))
    return found


def expired(segments: Iterable[Segment], *, oldest_ms: int, sealed_bytes_max: int) -> list[Segment]:
    """The segments to remove: last written before `oldest_ms`, and the oldest ones beyond `sealed_bytes_max`.

    In a partition only the first ones go, whatever their times say, so that no gap appears.

    >>> old, new = (Segment(Path("events/0"), base, 10, written_ms=base) for base in (0, 10))
    >>> [segment.base for segment in expired([new, old], oldest_ms=5, sealed_bytes_max=100)]
    [0]
    >>> [segment.base for segment in expired([new, old], oldest_ms=0, sealed_bytes_max=10)]
    [0]
    """
    kept_bytes = 0
    old: dict[Path, list[Segment]] = {}
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


def remove(disk: Disk, segments: Iterable[Segment]) -> int:
    """Remove segments, the oldest first so that no gap appears in a partition; how many there were."""
    removed = 0
    for segment in sorted(segments, key=lambda segment: segment.base):
        try:
            disk.unlink(segment_path(segment.folder, segment.base))
            removed += 1
        except FileNotFoundError:
            continue
    return removed


def compact(writer: PartitionWriter, *, fsync: bool) -> int:
    """Rewrite a partition as the last record of each key (JSON field "key"), in log order; its new first offset.

    The survivors go to a new segment behind the end, so offsets only rise; then the older segments are removed. A
    reader that stood inside them starts again at the new first offset. Records without a key are kept.
    """
    disk = writer.disk
    with writer.exclusive():
        end = writer.settled_end()
        bases = segment_bases(disk, writer.folder)
        survivors: dict[str | int, bytes] = {}
        for base in bases:
            content = read_file(disk, Path(segment_path(writer.folder, base)))
            for place, line in enumerate(content.split(b"\n")[:-1]):
                key = _key_of(line, otherwise=base + place)
                survivors.pop(key, None)
                survivors[key] = line + b"\n"
        if not survivors:
            return bases[0] if bases else 0
        write_atomically(disk, Path(segment_path(writer.folder, end)), b"".join(survivors.values()), fsync=fsync)
        for base in bases:
            if base != end:
                disk.unlink(segment_path(writer.folder, base))
        return end


def _key_of(line: bytes, *, otherwise: int) -> str | int:
    try:
        return _keyed.decode(line).key
    except msgspec.DecodeError:
        return otherwise
