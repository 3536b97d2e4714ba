"""Looking for damage in a partition's files, and setting damaged bytes aside so that readers go on behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ingest.local_log.blocks import Block, gap
from ingest.local_log.disk import Disk, write_all
from ingest.local_log.durable import Head
from ingest.local_log.segments import (
    LINES,
    Segment,
    Stretch,
    Window,
    segments_in,
    stretches,
    unfinished_name,
    write_atomically,
)
from ingest.local_log.writer import PartitionWriter

_COPY_BYTES = 1 << 20


class Damage(NamedTuple):
    """Offsets `offset` to `end` cannot be read: `size_bytes` from `position` on in `path`.

    `records` is None when the header that counts them is damaged, too. `size_bytes` is 0 when bytes are missing.
    """

    path: str
    position: int
    size_bytes: int
    offset: int
    end: int
    records: int | None


class Checked(NamedTuple):
    """What a look at a partition found. Lines of format 1 have no checksums: nothing can be said about them."""

    line_bytes: int
    unchecked_bytes: int
    damages: list[Damage]


def check(writer: PartitionWriter) -> Checked:
    """Read every block of a partition up to its durable end."""
    with writer.exclusive():
        head = writer.settled()
    line_bytes = unchecked_bytes = 0
    damages: list[Damage] = []
    for segment, end in _with_ends(segments_in(writer.disk, writer.folder), head):
        if segment.kind == LINES:
            unchecked_bytes += end - segment.base
            continue
        try:
            for stretch in _walk(writer.disk, writer.folder, segment, end, head):
                line_bytes += stretch.end - stretch.offset
                if not stretch.sound:
                    damages.append(_damage(segment.path(writer.folder), stretch))
        except FileNotFoundError:
            # Removed, or replaced by its compressed form, meanwhile.
            continue
    return Checked(line_bytes, unchecked_bytes, damages)


def repair(writer: PartitionWriter, quarantine: Path, *, now_ms: int) -> list[Damage]:
    """Copy what is damaged into `quarantine` and put gaps in its place; what was damaged. Appends wait meanwhile."""
    disk, folder = writer.disk, writer.folder
    set_aside: list[Damage] = []
    with writer.exclusive():
        head = writer.settled()
        for segment, end in _with_ends(segments_in(disk, folder), head):
            if segment.kind == LINES:
                continue
            found = [stretch for stretch in _walk(disk, folder, segment, end, head) if not stretch.sound]
            if not found:
                continue
            disk.makedirs(str(quarantine))
            for stretch in found:
                _keep(disk, folder, segment, stretch, quarantine)
            position = _without_damage(disk, folder, segment, end, head, now_ms)
            set_aside += [_damage(segment.path(folder), stretch) for stretch in found]
            if segment.base == head.base:
                head = head._replace(position=position)
        if set_aside:
            writer.replaced(head)
    return set_aside


def _with_ends(segments: list[Segment], head: Head) -> Iterator[tuple[Segment, int]]:
    """Segments with the offset where each must end."""
    for place, segment in enumerate(segments):
        if segment.base <= head.base:
            yield segment, segments[place + 1].base if place + 1 < len(segments) else head.end


def _walk(disk: Disk, folder: Path, segment: Segment, end: int, head: Head) -> Iterator[Stretch]:
    fd = disk.open(segment.path(folder), os.O_RDONLY)
    try:
        limit = head.position if segment.base == head.base else disk.fstat(fd).size_bytes
        yield from stretches(Window(disk, fd, limit), 0, segment.base, end)
    finally:
        disk.close(fd)


def _damage(path: str, stretch: Stretch) -> Damage:
    records = None if stretch.block is None else stretch.block.records
    return Damage(path, stretch.position, stretch.size_bytes, stretch.offset, stretch.end, records)


def _keep(disk: Disk, folder: Path, segment: Segment, stretch: Stretch, quarantine: Path) -> None:
    name = f"{folder.parent.name}-{folder.name}-{stretch.offset:020d}.{segment.kind}"
    fd = disk.open(segment.path(folder), os.O_RDONLY)
    try:
        content = disk.pread(fd, stretch.size_bytes, stretch.position)
    finally:
        disk.close(fd)
    write_atomically(disk, quarantine / name, content, fsync=True)


def _without_damage(disk: Disk, folder: Path, segment: Segment, end: int, head: Head, now_ms: int) -> int:
    """Replace a segment by one with gaps where it is damaged; its size."""
    path = segment.path(folder)
    unfinished = unfinished_name(path)
    source = disk.open(path, os.O_RDONLY)
    written_ms = disk.fstat(source).written_ms
    target = disk.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    size = 0
    try:
        for stretch in _walk(disk, folder, segment, end, head):
            if stretch.sound:
                content = disk.pread(source, stretch.size_bytes, stretch.position)
            else:
                content = gap(stretch.offset, stretch.end - stretch.offset, _records(stretch.block), now_ms)
            write_all(disk, target, content)
            size += len(content)
        disk.fsync(target)
    finally:
        disk.close(source)
        disk.close(target)
    disk.set_written(unfinished, written_ms)
    disk.replace(unfinished, path)
    disk.sync_folder(str(folder))
    return size


def _records(block: Block | None) -> int:
    return 0 if block is None else block.records
