"""Settling a partition: what lies behind the published end after a kill or a power loss is kept or cut.

Kept: whole appends with sound checksums. They may have been acknowledged; they are made durable before a reader sees
them. Cut: the append that was under way, when any of its blocks is torn. Nobody saw it, and nobody was told that it
was taken. Damage with a later append behind it is neither: those bytes were durable once, so they stay and are
reported when they are read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ingest.local_log.disk import Disk
from ingest.local_log.durable import DurableEnd, Head
from ingest.local_log.segments import (
    BLOCKS,
    LINES,
    Segment,
    Window,
    remove_segment,
    segments_in,
    stretches,
    whole_bytes,
)


class _End(NamedTuple):
    position: int
    offset: int


def settle(disk: Disk, folder: Path, durable: DurableEnd, *, fsync: bool, disposable: bool = False) -> Head:
    """Bring the published end and the files in agreement; what is published then. Only under the partition's lock.

    `disposable`: when what was published is lost (a topic that is never synced), older segments go with it.
    """
    published = durable.read()
    found = segments_in(disk, folder)
    last = found[-1] if found else None
    if published is not None and _agrees(disk, folder, last, published):
        return published
    generation = 0 if published is None else published.generation + 1
    promised = 0 if published is None else published.end
    head = Head(generation, promised, 0, promised)
    if last is not None:
        head = _last_segment(disk, folder, last, published, fsync=fsync)._replace(generation=generation)
    if head.end < promised:
        # The disk lost what it had synced. Those offsets are never given to other records.
        if disposable:
            for segment in found:
                remove_segment(disk, folder, segment.base)
        head = Head(generation, promised, 0, promised)
    durable.publish(head)
    return head


def _agrees(disk: Disk, folder: Path, last: Segment | None, published: Head) -> bool:
    if last is None or last.base != published.base or last.kind != BLOCKS:
        # The segment that is to come next has no file yet.
        is_next = published.position == 0 and published.base == published.end
        return is_next and (last is None or last.base < published.base)
    return disk.stat(last.path(folder)).size_bytes == published.position


def _last_segment(disk: Disk, folder: Path, last: Segment, published: Head | None, *, fsync: bool) -> Head:
    fd = disk.open(last.path(folder), os.O_RDWR)
    try:
        size = disk.fstat(fd).size_bytes
        if last.kind == LINES:
            end = last.base + _cut(disk, fd, size, whole_bytes(disk, fd, size), fsync=fsync)
            return Head(0, end, 0, end)
        start = _End(0, last.base)
        if published is not None and published.base == last.base and published.position <= size:
            start = _End(published.position, published.end)
        if last.kind != BLOCKS:
            # It was put in place whole: what is damaged in it is no torn append.
            *_, end = (stretch.end for stretch in stretches(Window(disk, fd, size), 0, last.base, last.base))
            return Head(0, end, 0, end)
        sound = _sound_end(Window(disk, fd, size), start)
        _cut(disk, fd, size, sound.position, fsync=fsync)
        return Head(0, last.base, sound.position, sound.offset)
    finally:
        disk.close(fd)


def _sound_end(window: Window, start: _End) -> _End:
    """Behind the last append that is to be kept."""
    end, torn_offset = start, None
    for stretch in stretches(window, start.position, start.offset, start.offset):
        if not stretch.sound or stretch.block is None:
            torn_offset = stretch.offset if torn_offset is None else torn_offset
        elif torn_offset is None or stretch.block.append_offset > torn_offset:
            end, torn_offset = _End(stretch.position + stretch.size_bytes, stretch.end), None
    return end


def _cut(disk: Disk, fd: int, size: int, kept: int, *, fsync: bool) -> int:
    if kept < size:
        disk.ftruncate(fd, kept)
    if fsync:
        disk.fdatasync(fd)
    return kept
