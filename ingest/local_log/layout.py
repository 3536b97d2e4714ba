"""What else a log's folder holds: its number of partitions, and the offsets that groups committed."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ingest.local_log.disk import Disk
from ingest.local_log.segments import read_file, write_atomically, write_unfinished

_GROUP = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class _Meta(msgspec.Struct):
    format: int
    partitions: int


def agree_on_partitions(disk: Disk, root: Path, partitions: int) -> int:
    """The number of partitions, written down by whoever makes the log; ValueError for another number later."""
    path = root / "meta.json"
    if not disk.exists(str(path)):
        _create_whole(disk, path, msgspec.json.encode(_Meta(format=1, partitions=partitions)))
    meta = msgspec.json.decode(read_file(disk, path), type=_Meta)
    if meta.partitions != partitions:
        raise ValueError(
            f"the log in {root} was made with {meta.partitions} partitions and cannot be opened with {partitions}: "
            f"set PENSTOCK_PARTITIONS={meta.partitions}, or choose another PENSTOCK_DATA_DIR"
        )
    return partitions


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
