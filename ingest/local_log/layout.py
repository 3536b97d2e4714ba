"""What else a log's folder holds: its number of partitions, and the offsets that groups committed."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

import msgspec

from ingest.local_log.disk import Disk
from ingest.local_log.segments import read_file, write_atomically, write_unfinished

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
        made = Meta(format=1, partitions=partitions, identity=uuid.uuid4().hex)
        _create_whole(disk, path, msgspec.json.encode(made))
    meta = msgspec.json.decode(read_file(disk, path), type=Meta)
    if meta.partitions != partitions:
        raise ValueError(
            f"the log in {root} was made with {meta.partitions} partitions and cannot be opened with {partitions}: "
            f"set PENSTOCK_PARTITIONS={meta.partitions}, or choose another PENSTOCK_DATA_DIR"
        )
    return meta if meta.identity else _brought_up_to_date(disk, path)


def _brought_up_to_date(disk: Disk, path: Path) -> Meta:
    """The meta data with an identity, which early logs have not; of several processes one makes it."""
    lock = disk.open(f"{path.parent}/meta.lock", os.O_RDWR | os.O_CREAT)
    try:
        disk.lock(lock)
        meta = msgspec.json.decode(read_file(disk, path), type=Meta)
        if not meta.identity:
            meta = msgspec.structs.replace(meta, identity=uuid.uuid4().hex)
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
        try:
            return int(read_file(self._disk, self._path(group, topic, partition)))
        except FileNotFoundError:
            return None

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
