"""How far back the log reaches at the present rate: computed from what is on disk, nothing promised.

That is how long a consumer, ClickHouse's writer above all, may be away before retention takes what it has not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from ingest.local_log.blocks import HEADER_BYTES, PACKED_BYTES, Block, header_at, packed
from ingest.local_log.disk import Disk
from ingest.local_log.segments import LINES, PACKED_BLOCKS, Segment, Window, segments_in
from schemas.topics import EVENTS, KPIS, VERDICTS

# What the store writes ClickHouse from.
NEEDED: Final = (EVENTS, VERDICTS, KPIS)
RATE_OVER_MS: Final = 3_600_000
# A log that is younger than this has no rate yet to go by.
_RATE_LEAST_MS: Final = 10_000
_WALK_BYTES: Final = 64 * 2**10


class Horizon(NamedTuple):
    """One topic. Rates are of the last hour; `reach_s` is None when nothing was written, as it then has no end."""

    topic: str
    quota_bytes: int | None
    disk_bytes: int
    line_bytes_per_s: float
    # What of it stays on disk once segments are compressed.
    disk_bytes_per_s: float
    reach_s: float | None


class _Flow(NamedTuple):
    """One partition: lines appended since `since_ms`, and what it has on disk."""

    appended: int
    since_ms: int
    disk_bytes: int
    packed_disk: int
    packed_lines: int
    sample: bytes


def horizon(
    disk: Disk, topic: str, folders: Iterable[Path], now_ms: int, *, quota_bytes: int | None, retention_ms: int | None
) -> Horizon:
    """The topic's horizon from its partitions' folders. Raises OSError."""
    flows = [flow for folder in folders if (flow := _flow(disk, folder, now_ms)) is not None]
    rate = sum(flow.appended * 1_000 / max(now_ms - flow.since_ms, _RATE_LEAST_MS) for flow in flows)
    disk_rate = rate * _ratio(flows)
    reach_s = quota_bytes / disk_rate if quota_bytes is not None and disk_rate > 0 else None
    if retention_ms is not None and reach_s is not None:
        reach_s = min(reach_s, retention_ms / 1_000)
    return Horizon(topic, quota_bytes, sum(flow.disk_bytes for flow in flows), rate, disk_rate, reach_s)


def least_reach(horizons: Iterable[Horizon]) -> float | None:
    """Seconds for which the store may be away: the least of the topics that it needs; None when nothing is written."""
    return min((one.reach_s for one in horizons if one.topic in NEEDED and one.reach_s is not None), default=None)


def _ratio(flows: list[_Flow]) -> float:
    """Bytes on disk a byte of lines: of the compressed segments, else of a sample compressed now."""
    lines = sum(flow.packed_lines for flow in flows)
    if lines:
        return sum(flow.packed_disk for flow in flows) / lines
    sample = b"".join(flow.sample for flow in flows)[:PACKED_BYTES]
    return len(packed(sample, 0, 0, 0)) / len(sample) if sample else 1.0


def _flow(disk: Disk, folder: Path, now_ms: int) -> _Flow | None:
    segments = segments_in(disk, folder)
    if not segments:
        return None
    disk_bytes = packed_disk = packed_lines = 0
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        try:
            size = disk.stat(segment.path(folder)).size_bytes
        except FileNotFoundError:
            continue
        disk_bytes += size
        if segment.kind == PACKED_BLOCKS and following is not None:
            packed_disk += size
            packed_lines += following.base - segment.base
    since_ms, offset = now_ms, segments[-1].base
    for segment in reversed(segments):
        found = _offset_at(disk, folder, segment, now_ms - RATE_OVER_MS)
        if found is not None:
            since_ms, offset = found
            if since_ms <= now_ms - RATE_OVER_MS:
                break
    end, sample = _tail(disk, folder, segments)
    return _Flow(end - offset, since_ms, disk_bytes, packed_disk, packed_lines, sample)


def _offset_at(disk: Disk, folder: Path, segment: Segment, at_ms: int) -> tuple[int, int] | None:
    """When the segment's last block until `at_ms` was written (else its first), and where it begins; None: unknown."""
    if segment.kind == LINES:
        return None
    last: Block | None = None
    for block in _headers(disk, folder, segment):
        if last is not None and block.written_ms > at_ms:
            break
        last = block
    return None if last is None else (last.written_ms, last.offset)


def _tail(disk: Disk, folder: Path, segments: list[Segment]) -> tuple[int, bytes]:
    """The offset behind the last block, and some bytes as they are before compression."""
    last = segments[-1]
    if last.kind == LINES:
        return last.base + disk.stat(last.path(folder)).size_bytes, b""
    end = last.base
    for block in _headers(disk, folder, last):
        end = block.end
    return end, _sample(disk, folder, segments[0])


def _sample(disk: Disk, folder: Path, segment: Segment) -> bytes:
    fd = disk.open(segment.path(folder), os.O_RDONLY)
    try:
        return disk.pread(fd, PACKED_BYTES, 0)
    finally:
        disk.close(fd)


def _headers(disk: Disk, folder: Path, segment: Segment) -> Iterable[Block]:
    """The headers of a segment up to the first that is not sound."""
    try:
        fd = disk.open(segment.path(folder), os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        window = Window(disk, fd, disk.fstat(fd).size_bytes, step_bytes=_WALK_BYTES)
        position = 0
        while (block := header_at(window.bytes_at(position, HEADER_BYTES))) is not None:
            yield block
            position += block.size_bytes
    finally:
        disk.close(fd)
