"""The log as files: append-only segments of lines in blocks, one folder a partition, offset = byte of the lines."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ingest.local_log.blocks import cut
from ingest.local_log.check import Checked, Damage, check, repair
from ingest.local_log.compress import Compressor
from ingest.local_log.disk import Disk, RealDisk
from ingest.local_log.freeze import FrozenPartition, frozen
from ingest.local_log.horizon import Horizon, horizon
from ingest.local_log.layout import GroupOffsets, open_meta, tighten
from ingest.local_log.open_segment import LostBytesError
from ingest.local_log.reader import OutsideError, PartitionReader
from ingest.local_log.upkeep import Sealed, compact, expired, remove, sealed_segments
from ingest.local_log.writer import PartitionWriter
from schemas.log import Chunk, LogCorruptError, LogUnavailableError, OffsetGoneError
from schemas.topics import COMPACTED, LIVE, PARTITIONED_LIKE_EVENTS, retention_of

SEGMENT_BYTES: Final = 64 * 2**20
# Live rows serve browsers that are connected now; nobody reads older ones.
LIVE_SEGMENT_BYTES: Final = 8 * 2**20
LIVE_RETENTION_MS: Final = 600_000
# A compacted topic smaller than this is read in milliseconds; rewriting it would gain nothing.
COMPACT_BYTES: Final = 16 * 2**20
# A reader at the tail looks again after the shortest wait, then less and less often up to the longest.
_WAIT_SHORTEST_S: Final = 0.000_5
_WAIT_LONGEST_S: Final = 0.005
_NAME = re.compile(r"^[a-z][a-z0-9._-]{0,63}$")


class LocalLog:
    """`schemas.log.Log` on files below `root`; any number of threads and processes may share them.

    `partitions` counts those of `events` and of topics like it; it is fixed when the log is made, and ValueError is
    raised for another number. Sealed segments go when they were last written `retention_ms` ago, or when those of
    their topic are larger on disk than its quota, else `retention_bytes` (None: kept); the look happens whenever a
    segment is begun. All file
    work goes through `disk`; `now_ms` is the wall clock. Sealed segments are compressed by a thread of its own, unless
    `compress` is False.
    """

    def __init__(
        self,
        root: Path,
        *,
        partitions: int,
        segment_bytes: int = SEGMENT_BYTES,
        fsync: bool = True,
        retention_bytes: int | None = None,
        quotas: Mapping[str, int] | None = None,
        retention_ms: int | None = None,
        compact_bytes: int = COMPACT_BYTES,
        compress: bool = True,
        disk: Disk | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.root = root
        self.disk = disk if disk is not None else RealDisk()
        self._now_ms = now_ms
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._retention_bytes = retention_bytes
        self._quotas = quotas or {}
        self._retention_ms = retention_ms
        self._compact_bytes = compact_bytes
        # Begin and end of a compacted topic when it was last compacted by this process.
        self._compacted: dict[str, int] = {}
        self._lock = threading.Lock()
        self._writers: dict[tuple[str, int], PartitionWriter] = {}
        self._readers: dict[tuple[str, int], PartitionReader] = {}
        with _clear_errors(str(root)):
            self.disk.makedirs(str(root))
            self._meta = open_meta(self.disk, root, partitions)
            tighten(self.disk, str(root))
        self._compresses = compress
        self._compressor = Compressor(self.disk, root, self._compressible)
        self._groups = GroupOffsets(self.disk, root / ".groups", fsync=fsync)

    def identity(self) -> str:
        """Made once with the log, kept in its meta.json."""
        return self._meta.identity

    def partitions(self, topic: str) -> int:
        """Number of partitions of a topic."""
        return self._meta.partitions if topic in PARTITIONED_LIKE_EVENTS else 1

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        """Append records in order; the offset behind the last, once on disk. `keys` are not needed here.

        Raises LogUnavailableError, and ValueError for a record with a newline in it.
        """
        if not records:
            return self.end(topic, partition)
        payload = b"\n".join(records) + b"\n"
        cuts = cut(payload)
        if sum(part.records for part in cuts) != len(records):
            raise ValueError(f"{topic}/{partition}: a record holds a newline; a line is one record")
        writer = self._writer(topic, partition)
        rolls = writer.rolls
        with _clear_errors(f"{topic}/{partition}"):
            end = writer.append(payload, cuts)
            if writer.rolls != rolls:
                if self._compresses and topic != LIVE:
                    self._compressor.wake()
                self.enforce_retention(self._now_ms())
            if topic in COMPACTED:
                self._compact_when_grown(topic, end)
        return end

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        """Whole records from `offset` on, at most about max_bytes but at least one; None when there is none in time.

        Raises OffsetGoneError when retention has removed the offset, or when it is none of this log's.
        """
        reader = self._reader(topic, partition)
        deadline = time.monotonic() + timeout_s
        wait_s = _WAIT_SHORTEST_S
        while True:
            try:
                with _clear_errors(f"{topic}/{partition}"):
                    lines = reader.read(offset, max_bytes)
            except OutsideError as outside:
                raise OffsetGoneError(topic, partition, offset, outside.begin) from outside
            if lines is not None:
                start = lines.first_offset
                return Chunk(topic, partition, lines.payload, start, start + len(lines.payload))
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            time.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * 1.5, _WAIT_LONGEST_S)

    def begin(self, topic: str, partition: int) -> int:
        """The oldest offset that can be read; 0 for an empty partition."""
        with _clear_errors(f"{topic}/{partition}"):
            return self._reader(topic, partition).begin()

    def end(self, topic: str, partition: int) -> int:
        """The offset behind the last record that is durable; 0 for an empty partition."""
        with _clear_errors(f"{topic}/{partition}"):
            return self._reader(topic, partition).end()

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Remember that `group` is done with everything before `offset`."""
        self._check(topic, partition)
        with _clear_errors(f"offsets of {group}"):
            self._groups.commit(group, topic, partition, offset)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The offset last committed by `group`; None when it never did."""
        self._check(topic, partition)
        with _clear_errors(f"offsets of {group}"):
            return self._groups.committed(group, topic, partition)

    def groups(self) -> list[str]:
        """Names of the groups that ever committed an offset."""
        return self._groups.names()

    def enforce_retention(self, now_ms: int) -> int:
        """Remove segments that are too old or too many; how many there were. Active segments always stay."""
        by_topic: dict[str, list[Sealed]] = {}
        for folder in self._folders():
            by_topic.setdefault(folder.parent.name, []).extend(sealed_segments(self.disk, folder))
        gone: dict[Path, list[int]] = {}
        for topic, sealed in by_topic.items():
            if topic == LIVE:
                found = expired(sealed, oldest_ms=now_ms - LIVE_RETENTION_MS, sealed_bytes_max=4 * LIVE_SEGMENT_BYTES)
            elif topic in COMPACTED:
                continue
            else:
                kept_ms = self._kept_ms(topic)
                oldest_ms = 0 if kept_ms is None else now_ms - kept_ms
                found = expired(sealed, oldest_ms=oldest_ms, sealed_bytes_max=self._quota(topic) or 2**63)
            for segment in found:
                gone.setdefault(segment.folder, []).append(segment.base)
        with _clear_errors(str(self.root)):
            return sum(
                remove(self._writer(folder.parent.name, int(folder.name)), bases) for folder, bases in gone.items()
            )

    def horizons(self, now_ms: int) -> list[Horizon]:
        """For each topic that retention bounds: what it takes and how far back it will reach at the present rate."""
        folders: dict[str, list[Path]] = {}
        for folder in self._folders():
            if folder.parent.name not in (*COMPACTED, LIVE):
                folders.setdefault(folder.parent.name, []).append(folder)
        with _clear_errors(str(self.root)):
            return [
                horizon(
                    self.disk, topic, found, now_ms, quota_bytes=self._quota(topic), retention_ms=self._kept_ms(topic)
                )
                for topic, found in folders.items()
            ]

    def compact(self, topic: str) -> int:
        """Rewrite a topic as the last record of each key (JSON field "key"); its new first offset."""
        begins = []
        for number in range(self.partitions(topic)):
            with _clear_errors(f"{topic}/{number}"):
                begins.append(compact(self._writer(topic, number), now_ms=self._now_ms()))
        return begins[0]

    def check(self) -> Iterator[tuple[str, int, Checked]]:
        """Read everything there is: topic, partition, what was found."""
        for folder in self._folders():
            topic, number = folder.parent.name, int(folder.name)
            with _clear_errors(f"{topic}/{number}"):
                yield topic, number, check(self._writer(topic, number))

    def repair(self) -> Iterator[tuple[str, int, Damage]]:
        """Set damaged bytes aside in folder `.quarantine`, so that readers go on behind them; what was damaged."""
        for folder in self._folders():
            topic, number = folder.parent.name, int(folder.name)
            with _clear_errors(f"{topic}/{number}"):
                damages = repair(self._writer(topic, number), self.root / ".quarantine", now_ms=self._now_ms())
            for damage in damages:
                yield topic, number, damage

    @contextmanager
    def frozen(self) -> Iterator[list[FrozenPartition]]:
        """The whole log at one cut, to be copied while everything goes on; one backup at a time."""
        lock = self.disk.open(f"{self.root}/backup.lock", os.O_RDWR | os.O_CREAT)
        try:
            if not self.disk.try_lock(lock):
                raise LogUnavailableError(f"another backup of the log in {self.root} is being made; wait for its end")
            with frozen(self.disk, self.root / ".backup", self._writers_of) as found:
                yield found
        finally:
            self.disk.close(lock)

    def compress(self) -> int:
        """Compress sealed segments now, as is done in the background; how many there were."""
        with _clear_errors(str(self.root)):
            return self._compressor.compress_all()

    def close(self) -> None:
        """Close the files; nothing is pending, since append returns when records are on disk."""
        self._compressor.close()
        with self._lock:
            for writer in self._writers.values():
                writer.close()
            for reader in self._readers.values():
                reader.close()
            self._writers.clear()
            self._readers.clear()

    def _compact_when_grown(self, topic: str, end: int) -> None:
        """Compact when the topic is beyond its bound and twice as large as after the last time."""
        size = end - self.begin(topic, 0)
        if size > max(self._compact_bytes, 2 * self._compacted.get(topic, 0)):
            begin = self.compact(topic)
            self._compacted[topic] = self.end(topic, 0) - begin

    def _kept_ms(self, topic: str) -> int | None:
        return None if self._retention_ms is None else retention_of(topic, self._retention_ms)

    def _quota(self, topic: str) -> int | None:
        return self._quotas.get(topic, self._retention_bytes)

    def _writer(self, topic: str, partition: int) -> PartitionWriter:
        with self._lock:
            found = self._writers.get((topic, partition))
            if found is None:
                is_live = topic == LIVE
                found = self._writers[topic, partition] = PartitionWriter(
                    self.disk,
                    self._folder(topic, partition),
                    segment_bytes=min(LIVE_SEGMENT_BYTES, self._segment_bytes) if is_live else self._segment_bytes,
                    fsync=self._fsync and not is_live,
                    now_ms=self._now_ms,
                    disposable=is_live,
                )
            return found

    def _reader(self, topic: str, partition: int) -> PartitionReader:
        # Once per poll: the dictionary is read without the lock, which the interpreter makes safe.
        found = self._readers.get((topic, partition))
        if found is None:
            with self._lock:
                folder = self._folder(topic, partition)
                is_live = topic == LIVE
                reader = PartitionReader(self.disk, folder, fsync=self._fsync and not is_live, disposable=is_live)
                found = self._readers.setdefault((topic, partition), reader)
        return found

    def _folder(self, topic: str, partition: int) -> Path:
        self._check(topic, partition)
        folder = self.root / topic / str(partition)
        if not self.disk.exists(str(folder)):
            self.disk.makedirs(str(folder))
            self.disk.sync_folder(str(folder.parent))
            self.disk.sync_folder(str(self.root))
        return folder

    def _check(self, topic: str, partition: int) -> None:
        if not _NAME.match(topic):
            raise ValueError(f"{topic!r} is not a topic name")
        if not 0 <= partition < self.partitions(topic):
            raise ValueError(f"{topic} has {self.partitions(topic)} partitions, and none is number {partition}")

    def _writers_of(self, topic: str) -> list[tuple[int, PartitionWriter]]:
        return [(number, self._writer(topic, number)) for number in range(self.partitions(topic))]

    def _compressible(self) -> Iterator[PartitionWriter]:
        """Writers of the partitions whose sealed segments are compressed."""
        for folder in self._folders():
            if folder.parent.name != LIVE:
                yield self._writer(folder.parent.name, int(folder.name))

    def _folders(self) -> list[Path]:
        """Folders of the partitions that are there."""
        topics = [self.root / name for name in self.disk.listdir(str(self.root)) if _NAME.match(name)]
        found = []
        for topic in topics:
            with suppress(NotADirectoryError):
                found += [topic / name for name in self.disk.listdir(str(topic)) if name.isdecimal()]
        return sorted(found)


@contextmanager
def _clear_errors(where: str) -> Iterator[None]:
    """An operating system's error as the log's, with what to do about it."""
    try:
        yield
    except LostBytesError as lost:
        raise LogCorruptError(
            where,
            lost.path,
            position=lost.position,
            size_bytes=lost.size_bytes,
            offset=lost.offset,
            end=lost.end,
            records=lost.records,
        ) from None
    except OSError as error:
        hint = "free space or raise the limit, then send again"
        raise LogUnavailableError(f"the local log cannot be used at {where}: {error.strerror}; {hint}") from error
