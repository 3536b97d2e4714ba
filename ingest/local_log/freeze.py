"""A cut through the whole log that stays while it is copied: hard links to its segments, and where each ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ingest.local_log.disk import Disk
from ingest.local_log.durable import DurableEnd, Head
from ingest.local_log.segments import segments_in
from ingest.local_log.writer import PartitionWriter
from schemas.topics import (
    CONTROL,
    CORRECTIONS,
    CORRECTIONS_APPLIED,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    KPIS,
    ORDER,
    RECEIPTS,
    SERVING,
    VERDICTS,
)

# What follows from a topic is cut before it: no verdict, window or order entry may speak of an event that the cut has
# not, since other events will have those offsets; nor may a correction. Live rows serve browsers that are connected
# now, and stay out.
CUT_ORDER: Final = (
    RECEIPTS,
    DECISIONS,
    SERVING,
    DEAD_LETTERS,
    KPIS,
    VERDICTS,
    CORRECTIONS_APPLIED,
    ORDER,
    CONTROL,
    CORRECTIONS,
    EVENTS,
)


class FrozenFile(NamedTuple):
    """A segment as it was at the cut: the first `size_bytes` of the file at `link`."""

    name: str
    link: str
    size_bytes: int


class FrozenPartition(NamedTuple):
    """A partition at the cut."""

    topic: str
    partition: int
    head: Head
    files: list[FrozenFile]

    def write_head(self, disk: Disk, folder: Path) -> None:
        """Publish the cut's end in a copy of the partition, in the file that readers look at."""
        durable = DurableEnd(disk, str(folder))
        durable.publish(self.head)
        durable.close()


@contextmanager
def frozen(
    disk: Disk, staging: Path, writers: Callable[[str], list[tuple[int, PartitionWriter]]]
) -> Iterator[list[FrozenPartition]]:
    """The log at one cut, for as long as the context lasts; nobody waits meanwhile. Raises OSError."""
    _remove(disk, staging)
    found: list[FrozenPartition] = []
    try:
        for topic in CUT_ORDER:
            for partition, writer in writers(topic):
                found.append(_freeze(disk, writer, topic, partition, staging / topic / str(partition)))
        yield found
    finally:
        _remove(disk, staging)


def _freeze(disk: Disk, writer: PartitionWriter, topic: str, partition: int, links: Path) -> FrozenPartition:
    disk.makedirs(str(links))
    files = []
    with writer.exclusive():
        head = writer.settled()
        for segment in segments_in(disk, writer.folder):
            path = segment.path(writer.folder)
            name = Path(path).name
            link = f"{links}/{name}"
            try:
                disk.link(path, link)
            except FileNotFoundError:
                # Its uncompressed form was removed just now, and so was it by retention.
                continue
            size = head.position if segment.base == head.base else disk.stat(link).size_bytes
            files.append(FrozenFile(name, link, size))
    return FrozenPartition(topic, partition, head, files)


def _remove(disk: Disk, folder: Path) -> None:
    """Remove the links of this cut, or of one that a kill ended."""
    try:
        names = disk.listdir(str(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        with suppress(FileNotFoundError):
            disk.unlink(str(folder))
        return
    for name in names:
        _remove(disk, folder / name)
