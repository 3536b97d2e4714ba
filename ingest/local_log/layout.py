"""What else a log's folder holds: its number of partitions, and the offsets that groups committed."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Final

import msgspec

from ingest.local_log.disk import FILE_MODE, FOLDER_MODE, Disk
from ingest.local_log.segments import read_file, write_atomically, write_unfinished
from schemas.log import LogUnavailableError

# 1: segments of plain lines. 2: blocks with checksums; segments of format 1 are still read.
FORMAT: Final = 2
_GROUP = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class Meta(msgspec.Struct, frozen=True):
    """What holds for a log as long as it lives. `identity` tells it from every other log."""

    format: int
    partitions: int
    identity: str = ""


def open_meta(disk: Disk, root: Path, partitions: int) -> Meta:
    """The log's meta data, written by whoever makes it; ValueError for another number of partitions later."""
    path = root / "meta.json"
    if not disk.exists(str(path)):
        made = Meta(format=FORMAT, partitions=partitions, identity=uuid.uuid4().hex)
        _create_whole(disk, path, msgspec.json.encode(made))
    meta = msgspec.json.decode(read_file(disk, path), type=Meta)
    if meta.partitions != partitions:
        raise ValueError(
            f"the log in {root} was made with {meta.partitions} partitions and cannot be opened with {partitions}: "
            f"set PENSTOCK_PARTITIONS={meta.partitions}, or choose another PENSTOCK_DATA_DIR"
        )
    if meta.format > FORMAT:
        raise ValueError(
            f"the log in {root} has format {meta.format} and needs a newer Penstock; this one knows {FORMAT}"
        )
    return meta if meta.identity and meta.format == FORMAT else _brought_up_to_date(disk, path)


def _brought_up_to_date(disk: Disk, path: Path) -> Meta:
    """The meta data of an older log in the present format, with an identity; of several processes one makes it."""
    lock = disk.open(f"{path.parent}/meta.lock", os.O_RDWR | os.O_CREAT)
    try:
        disk.lock(lock)
        meta = msgspec.json.decode(read_file(disk, path), type=Meta)
        if not meta.identity or meta.format < FORMAT:
            meta = msgspec.structs.replace(meta, format=FORMAT, identity=meta.identity or uuid.uuid4().hex)
            write_atomically(disk, path, msgspec.json.encode(meta), fsync=True)
        return meta
    finally:
        disk.close(lock)


def _create_whole(disk: Disk, path: Path, content: bytes) -> None:
    """Make a file with its content in one step; of several processes one wins, and the others' are dropped."""
    unfinished = write_unfinished(disk, path, content, fsync=True)
    try:
        disk.link(unfinished, str(path))
    except FileExistsError:
        pass
    finally:
        disk.unlink(unfinished)
    disk.sync_folder(str(path.parent))


class GroupOffsets:
    """Committed offsets: one small file for each group, topic and partition, replaced atomically."""

    def __init__(self, disk: Disk, root: Path, *, fsync: bool) -> None:
        self._disk = disk
        self._root = root
        self._fsync = fsync

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember an offset. Raises OSError, ValueError for a bad group name."""
        path = self._path(group, topic, partition)
        self._disk.makedirs(str(path.parent))
        write_atomically(self._disk, path, b"%d\n" % offset, fsync=self._fsync)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset remembered; None when there is none."""
        path = self._path(group, topic, partition)
        try:
            content = read_file(self._disk, path)
        except FileNotFoundError:
            return None
        if not content.strip().isdigit():
            raise LogUnavailableError(
                f"the offset that {group} committed for {topic}/{partition} is damaged: remove {path}, then {group} "
                "begins at the first offset there is"
            )
        return int(content)

    def names(self) -> list[str]:
        """The groups there are."""
        try:
            return sorted(name for name in self._disk.listdir(str(self._root)) if _GROUP.match(name))
        except FileNotFoundError:
            return []

    def _path(self, group: str, topic: str, partition: int) -> Path:
        if not _GROUP.match(group):
            raise ValueError(f"{group!r} is not a group name: letters, digits, dot, underscore and dash")
        return self._root / group / f"{topic}@{partition}"


def tighten(disk: Disk, folder: str) -> None:
    """Leave folders and files to their owner alone, those of earlier versions too."""
    disk.chmod(folder, FOLDER_MODE)
    for name in disk.listdir(folder):
        path = f"{folder}/{name}"
        try:
            tighten(disk, path)
        except NotADirectoryError:
            disk.chmod(path, FILE_MODE)
        except FileNotFoundError:
            # Removed meanwhile by another process.
            continue
