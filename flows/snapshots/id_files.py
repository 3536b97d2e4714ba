"""The ids that a shard remembers, beside Bytewax's recovery store: what was added is appended, never all written anew.

A snapshot of the recovery store is one value a shard, written whole; ids seen lately would be tens of megabytes every
few seconds. So they are in files of their own, `<recovery store>/ids/<shard>/`, and the snapshot holds a `Saved`: which
files, how much of each, and how many ids each organisation had. What stands in a file behind that is of a later
snapshot, or of one that was never completed: it is cut off when the shard goes on from here.

A segment is a chain of frames (`flows.snapshots.framed`), each with numbers and counts of organisations, and their ids.
Segments hold at least the last `ids_max` ids that came; what an organisation has from before them is in a base file,
written anew when the oldest segment goes.

Bound: ids_max ids of 8 bytes in the base, and twice as many and a little in segments.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns.dedupe import SeenIds
from flows.snapshots.framed import Appender, StateDamagedError, Sync, Unnamed, framed, payloads, sync_folder
from schemas.decode.words import SPREAD

FOLDER: Final = "ids"
# Parts of `ids_max` that a segment holds, but no less than that many ids.
_SEGMENTS: Final = 4
_SEGMENT_IDS_MIN: Final = 65_536

Ids = NDArray[np.uint64]


class Part(NamedTuple):
    """A file as far as a snapshot knows it: `crc` is that of its last frame."""

    number: int
    size: int
    crc: int
    ids: int


class Saved(msgspec.Struct, array_like=True):
    """What a snapshot says of a shard's ids. `counts`: ids of each organisation."""

    counts: list[int]
    base: Part | None
    segments: list[Part]


class _Frame(msgspec.Struct, array_like=True):
    numbers: list[int]
    counts: list[int]
    ids: bytes


@dataclass(slots=True)
class _File:
    """A file that is written to its end, or was."""

    number: int
    size: int = 0
    crc: int = 0
    # By organisation.
    counts: dict[int, int] = field(default_factory=dict)

    @property
    def ids(self) -> int:
        return sum(self.counts.values())

    def part(self) -> Part:
        return Part(self.number, self.size, self.crc, self.ids)

    def count(self, numbers: list[int], counts: list[int]) -> None:
        for number, count in zip(numbers, counts, strict=True):
            self.counts[number] = self.counts.get(number, 0) + count


class IdFiles:
    """The files of one shard; `sync` makes what was written durable."""

    def __init__(self, folder: Path, ids_max: int, sync: Sync = os.fdatasync) -> None:
        self._folder = folder
        self._ids_max = ids_max
        self._segment_ids = max(_SEGMENT_IDS_MIN, ids_max // _SEGMENTS)
        self._sync = sync
        self._next = 0
        self._base: _File | None = None
        self._segments: list[_File] = []
        self._appender = Appender(sync)
        self._unnamed = Unnamed()

    # -- writing ------------------------------------------------------------------------------------------------

    def save(self, seen: SeenIds) -> Saved:
        """Append what was added since the last time; durable when this returns. Raises OSError: then try again."""
        self._drop_oldest(seen)
        self._begin_segment()
        added = seen.added()
        numbers = [number for number, ids in enumerate(added) if len(ids)]
        if numbers:
            segment = self._segments[-1]
            self._append(segment, numbers, [added[number] for number in numbers])
        seen.settle()
        self._unnamed.snapshot_taken()
        return Saved(
            counts=seen.counts().tolist(),
            base=None if self._base is None else self._base.part(),
            segments=[segment.part() for segment in self._segments],
        )

    def close(self) -> None:
        """Close the file that is open."""
        self._appender.close()

    def _append(self, segment: _File, numbers: list[int], ids: list[Ids]) -> None:
        frame, crc = framed(_payload(numbers, ids), segment.crc)
        self._appender.append(self._segment_path(segment.number), segment.size, [frame])
        segment.size += len(frame)
        segment.crc = crc
        segment.count(numbers, [len(some) for some in ids])

    def _begin_segment(self) -> None:
        if not self._segments or self._segments[-1].ids >= self._segment_ids:
            self._segments.append(_File(self._number()))

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _drop_oldest(self, seen: SeenIds) -> None:
        """Let the oldest segment go when the later ones hold enough; what it alone has goes into a new base."""
        while len(self._segments) > 1 and sum(later.ids for later in self._segments[1:]) >= self._ids_max:
            later = [sum(s.counts.get(number, 0) for s in self._segments[1:]) for number in range(len(seen.counts()))]
            waiting = [len(ids) for ids in seen.added()]
            old = {
                number: seen.kept(number)[: count - later[number] - waiting[number]]
                for number, count in enumerate(seen.counts().tolist())
                if count > later[number] + waiting[number]
            }
            base = self._write_base(old) if old else None
            self._unnamed.add(self._segment_path(self._segments.pop(0).number))
            if self._base is not None:
                self._unnamed.add(self._base_path(self._base.number))
            self._base = base

    def _write_base(self, old: dict[int, Ids]) -> _File:
        base = _File(self._number())
        frame, base.crc = framed(_payload(list(old), list(old.values())), 0)
        base.size = len(frame)
        base.count(list(old), [len(ids) for ids in old.values()])
        path = self._base_path(base.number)
        try:
            with path.open("wb") as file:
                file.write(frame)
                file.flush()
                self._sync(file.fileno())
        except OSError:
            # On a full disk half of it would take the room that the next try needs.
            path.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        return base

    # -- reading ------------------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        folder: Path,
        saved: Saved,
        ids_max: int,
        spread: int = int(SPREAD),
        sync: Sync = os.fdatasync,
    ) -> tuple[IdFiles, SeenIds]:
        """The files and the memory as they were; what was written since is cut off.

        Raises StateDamagedError where a file is missing, too short, or not what was written.
        """
        files = cls(folder, ids_max, sync)
        kept: list[list[Ids]] = [[] for _ in saved.counts]
        if saved.base is not None:
            files._base = files._read(files._base_path(saved.base.number), saved.base, kept)
        files._segments = [files._read(files._segment_path(part.number), part, kept) for part in saved.segments]
        files._next = max((part.number for part in [*saved.segments, *filter(None, [saved.base])]), default=0)
        files._forget_later()
        newest = [
            np.concatenate([*parts, np.empty(0, np.uint64)])[-count:] if count else np.empty(0, np.uint64)
            for parts, count in zip(kept, saved.counts, strict=True)
        ]
        short = [number for number, ids in enumerate(newest) if len(ids) != saved.counts[number]]
        if short:
            raise StateDamagedError(folder, f"holds too few ids of organisation {short[0]}")
        try:
            return files, SeenIds.restore(newest, ids_max, spread)
        except ValueError as error:
            raise StateDamagedError(folder, f"cannot be read: {error}") from error

    def _read(self, path: Path, part: Part, kept: list[list[Ids]]) -> _File:
        """Add the ids of a file to those kept; the file as it goes on."""
        file = _File(part.number, part.size, part.crc)
        for payload in payloads(path, part.size, part.crc):
            frame = msgspec.msgpack.decode(payload, type=_Frame)
            file.count(frame.numbers, frame.counts)
            ids = np.frombuffer(frame.ids, "<u8")
            ends = np.cumsum(frame.counts)
            for number, end, count in zip(frame.numbers, ends.tolist(), frame.counts, strict=True):
                kept[number].append(ids[end - count : end])
        if file.ids != part.ids:
            raise StateDamagedError(path, "is of another history")
        return file

    def _forget_later(self) -> None:
        """Cut off what was written behind this snapshot; older files that it does not name go as ever, in a while."""
        named = {self._segment_path(segment.number): segment.size for segment in self._segments}
        if self._base is not None:
            named[self._base_path(self._base.number)] = self._base.size
        for path in self._folder.glob("*.ids"):
            if not path.stem.removeprefix("base-").isdigit():
                # Nobody's of ours: a copy that somebody made.
                continue
            if path in named:
                if path.stat().st_size > named[path]:
                    os.truncate(path, named[path])
            elif int(path.stem.rpartition("-")[2]) > self._next:
                path.unlink()
            else:
                self._unnamed.add(path)

    def _segment_path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.ids"

    def _base_path(self, number: int) -> Path:
        return self._folder / f"base-{number:012d}.ids"


def _payload(numbers: list[int], ids: list[Ids]) -> bytes:
    joined = np.concatenate(ids).astype("<u8").tobytes()
    return msgspec.msgpack.encode(_Frame(numbers, [len(some) for some in ids], joined))
