"""What else a log's folder holds: its number of partitions, and the offsets that groups committed."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import msgspec

from ingest.local_log.segments import sync_folder, write_all, write_atomically

_GROUP = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class _Meta(msgspec.Struct):
    format: int
    partitions: int


def agree_on_partitions(root: Path, partitions: int) -> int:
    """The number of partitions, written down by whoever makes the log; ValueError for another number later."""
    path = root / "meta.json"
    if not path.exists():
        _create_whole(path, msgspec.json.encode(_Meta(format=1, partitions=partitions)))
    meta = msgspec.json.decode(path.read_bytes(), type=_Meta)
    if meta.partitions != partitions:
        raise ValueError(
            f"the log in {root} was made with {meta.partitions} partitions and cannot be opened with {partitions}: "
            f"set PENSTOCK_PARTITIONS={meta.partitions}, or choose another PENSTOCK_DATA_DIR"
        )
    return partitions


def _create_whole(path: Path, content: bytes) -> None:
    """Make a file with its content in one step; of several processes one wins, and the others' are dropped."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(unfinished)
    sync_folder(path.parent)


class GroupOffsets:
    """Committed offsets: one small file for each group, topic and partition, replaced atomically."""

    def __init__(self, root: Path, *, fsync: bool) -> None:
        self._root = root
        self._fsync = fsync

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember an offset. Raises OSError, ValueError for a bad group name."""
        path = self._path(group, topic, partition)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, b"%d\n" % offset, fsync=self._fsync)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset remembered; None when there is none."""
        try:
            return int(self._path(group, topic, partition).read_bytes())
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """The groups there are."""
        if not self._root.is_dir():
            return []
        return sorted(entry.name for entry in self._root.iterdir() if _GROUP.match(entry.name))

    def _path(self, group: str, topic: str, partition: int) -> Path:
        if not _GROUP.match(group):
            raise ValueError(f"{group!r} is not a group name: letters, digits, dot, underscore and dash")
        return self._root / group / f"{topic}@{partition}"
