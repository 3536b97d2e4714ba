"""The state of one shard as append-only files: a snapshot writes the pages and rows that changed, and nothing else.

`<recovery store>/state/<shard>/` holds segments of frames (`flows.snapshots.framed`). A frame holds pages of one array,
or packed rows by slot; the newest copy counts. When more stands in segments than twice what is in force, each snapshot
also writes anew some of what is in force in the oldest segment; a segment nothing of which is in force is not named any
more and goes. So no snapshot is a long one, and none is whole.

Bound: twice the state, uncompressed, and 16 MiB; while the state shrinks quickly, four times what it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from flows.logic.kept import KeptRows
from flows.logic.pages import PAGE_BYTES, Words, bytes_of, page_hashes, page_keys, pages_of
from flows.snapshots.forms import TableForm
from flows.snapshots.framed import Appender, StateDamagedError, Sync, Unnamed, framed, payloads

FOLDER: Final = "state"
# A segment takes so much, or a quarter of the state if that is more.
_SEGMENT_BYTES_MIN: Final = 4 * 2**20
_SEGMENTS: Final = 4
# Stands in segments beyond twice the state before anything is written anew; and how much of that is at least.
_SLACK_BYTES: Final = 16 * 2**20
_ANEW_BYTES_MIN: Final = 2**20
_FRAME_PAGES: Final = 16_384
_FRAME_ROWS: Final = 4_096
_ZSTD_LEVEL: Final = -5
# Hashes do not pack: a frame that packs no better than this at its beginning is kept as it is.
_WORTH_PACKING: Final = 0.8
_TRIED_BYTES: Final = 2**16
_NOWHERE: Final = -1

Numbers = NDArray[np.int64]


class Part(NamedTuple):
    """A segment as far as a snapshot knows it: `crc` is that of its last frame, `raw` what it holds uncompressed."""

    number: int
    size: int
    crc: int
    raw: int


class SavedState(msgspec.Struct, array_like=True):
    """What a snapshot says of a shard's arrays and rows. `rows`: by name, which slots have one, int32."""

    tables: list[TableForm]
    rows: dict[str, bytes]
    segments: list[Part]


class _Frame(msgspec.Struct, array_like=True):
    """Pages of an array or rows of some slots; `lengths` are those of rows, all int32."""

    kind: Literal["pages", "rows"]
    name: str
    numbers: bytes
    lengths: bytes
    packed: bool
    data: bytes


@dataclass(slots=True)
class _Segment:
    number: int
    size: int = 0
    crc: int = 0
    raw: int = 0


@dataclass(slots=True)
class _Pages:
    """Hashes of an array's pages as they were last written, and which segment has them."""

    hashes: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    where: Numbers = field(default_factory=lambda: np.empty(0, np.int64))

    def fit(self, count: int) -> None:
        """Have so many pages; new ones are nowhere yet."""
        more = max(0, count - len(self.where))
        self.hashes = np.concatenate([self.hashes[:count], np.zeros(more, np.uint64)])
        self.where = np.concatenate([self.where[:count], np.full(more, _NOWHERE)])


class _Row(NamedTuple):
    packed: bytes
    where: int


@dataclass(slots=True)
class _Change:
    """What a snapshot writes of one array or of one kind of rows."""

    name: str
    numbers: Numbers
    bytes: int


class StateFiles:
    """The files of one shard. `key` is what pages are hashed with; `sync` makes what was written durable."""

    def __init__(self, folder: Path, key: int, sync: Sync = os.fdatasync) -> None:
        self._folder = folder
        self._keys = page_keys(key)
        self._pages: dict[str, _Pages] = {}
        self._rows: dict[str, dict[int, _Row]] = {}
        self._segments: list[_Segment] = []
        self._next = 0
        self._appender = Appender(sync)
        self._unnamed = Unnamed()
        # Bytes that the last snapshot wrote.
        self.written = 0

    # -- writing ------------------------------------------------------------------------------------------------

    def save(self, tables: dict[str, NDArray[Any]], rows: dict[str, KeptRows]) -> SavedState:
        """Append what changed; durable when this returns. Raises OSError: then try again."""
        raws = {name: bytes_of(array) for name, array in tables.items()}
        hashes = {name: page_hashes(raw, self._keys) for name, raw in raws.items()}
        self._fit(hashes, rows)
        segment = self._open_segment(sum(map(len, raws.values())))
        changed = [self._changed_pages(name, found) for name, found in hashes.items()]
        changed += [self._changed_rows(name, found) for name, found in rows.items()]
        again = self._again(sum(change.bytes for change in changed), sum(map(len, raws.values())), rows)
        self._append(segment, raws, rows, [*changed, *again])
        for name, found in hashes.items():
            self._pages[name].hashes = found
        self._drop_segments()
        self._unnamed.snapshot_taken()
        return SavedState(
            tables=[TableForm.of(name, array) for name, array in tables.items()],
            rows={name: np.array(list(found), "<i4").tobytes() for name, found in rows.items()},
            segments=[Part(kept.number, kept.size, kept.crc, kept.raw) for kept in self._segments],
        )

    def close(self) -> None:
        """Close the file that is open."""
        self._appender.close()

    def _fit(self, hashes: dict[str, Words], rows: dict[str, KeptRows]) -> None:
        self._pages = {name: self._pages.get(name, _Pages()) for name in hashes}
        for name, found in hashes.items():
            self._pages[name].fit(len(found))
        self._rows = {
            name: {slot: row for slot, row in self._rows.get(name, {}).items() if slot in found}
            for name, found in rows.items()
        }

    def _open_segment(self, state_bytes: int) -> _Segment:
        if not self._segments or self._segments[-1].raw >= max(_SEGMENT_BYTES_MIN, state_bytes // _SEGMENTS):
            self._next += 1
            self._segments.append(_Segment(self._next))
        return self._segments[-1]

    def _changed_pages(self, name: str, hashes: Words) -> _Change:
        pages = self._pages[name]
        numbers = np.flatnonzero((pages.hashes != hashes) | (pages.where == _NOWHERE))
        return _Change(name, numbers, PAGE_BYTES * len(numbers))

    def _changed_rows(self, name: str, rows: KeptRows) -> _Change:
        known = self._rows[name]
        numbers = [slot for slot, packed in rows.items() if slot not in known or known[slot].packed != packed]
        return _Change(name, np.array(numbers, np.int64), sum(len(rows[slot]) for slot in numbers))

    def _again(self, changed: int, state_bytes: int, rows: dict[str, KeptRows]) -> list[_Change]:
        """What of the oldest segment is written anew, once too much of what segments hold is not in force."""
        in_force = state_bytes + sum(len(packed) for found in rows.values() for packed in found.values())
        held = changed + sum(segment.raw for segment in self._segments)
        if held <= 2 * in_force + _SLACK_BYTES or len(self._segments) < 2:
            return []
        left = changed + _ANEW_BYTES_MIN if held <= 4 * in_force + 4 * _SLACK_BYTES else held
        oldest, again = self._segments[0].number, []
        for name, pages in self._pages.items():
            numbers = np.flatnonzero(pages.where == oldest)[: max(0, left // PAGE_BYTES)]
            again.append(_Change(name, numbers, PAGE_BYTES * len(numbers)))
            left -= PAGE_BYTES * len(numbers)
        for name, known in self._rows.items():
            slots = [slot for slot, row in known.items() if row.where == oldest] if left > 0 else []
            again.append(_Change(name, np.array(slots, np.int64), sum(len(known[slot].packed) for slot in slots)))
            left -= again[-1].bytes
        return again

    def _append(
        self, segment: _Segment, raws: dict[str, NDArray[np.uint8]], rows: dict[str, KeptRows], changes: list[_Change]
    ) -> None:
        """Write changes as frames; where they are is noted once they are durable."""
        crc, size = segment.crc, segment.size

        def frames() -> Iterator[bytes]:
            nonlocal crc, size
            for change in changes:
                for made in _frames(change, raws.get(change.name), rows.get(change.name)):
                    frame, crc = framed(made, crc)
                    size += len(frame)
                    yield frame

        self._appender.append(self._path(segment.number), segment.size, frames())
        self.written = size - segment.size
        segment.crc, segment.size = crc, size
        for change in changes:
            segment.raw += change.bytes
            if change.name in raws:
                self._pages[change.name].where[change.numbers] = segment.number
            else:
                known, now = self._rows[change.name], rows[change.name]
                known.update((slot, _Row(now[slot], segment.number)) for slot in change.numbers.tolist())

    def _drop_segments(self) -> None:
        """Name no segment any more that holds nothing in force, but the one that is written."""
        used = {self._segments[-1].number} if self._segments else set()
        for pages in self._pages.values():
            used |= set(np.unique(pages.where).tolist())
        for known in self._rows.values():
            used |= {row.where for row in known.values()}
        for segment in self._segments:
            if segment.number not in used:
                self._unnamed.add(self._path(segment.number))
        self._segments = [segment for segment in self._segments if segment.number in used]

    # -- reading ------------------------------------------------------------------------------------------------

    def load(self, saved: SavedState) -> tuple[dict[str, NDArray[Any]], dict[str, KeptRows]]:
        """Arrays and rows as they were; what was written since is cut off.

        Raises StateDamagedError where a file is missing, too short, or not what was written.
        """
        raws = {form.name: np.zeros(_whole(form.nbytes()), np.uint8) for form in saved.tables}
        self._pages = {name: _Pages() for name in raws}
        for name, raw in raws.items():
            self._pages[name].fit(len(raw) // PAGE_BYTES)
        wanted = {name: set(np.frombuffer(slots, "<i4").tolist()) for name, slots in saved.rows.items()}
        self._rows = {name: {} for name in wanted}
        self._segments = [_Segment(*part) for part in saved.segments]
        self._next = max((segment.number for segment in self._segments), default=0)
        for segment in self._segments:
            for payload in payloads(self._path(segment.number), segment.size, segment.crc):
                self._take(msgspec.msgpack.decode(payload, type=_Frame), segment.number, raws, wanted)
        lacking = [name for name, pages in self._pages.items() if (pages.where == _NOWHERE).any()]
        lacking += [name for name, slots in wanted.items() if self._rows[name].keys() != slots]
        if lacking:
            raise StateDamagedError(self._folder, f"lacks some of {', '.join(lacking)}")
        self._forget_later()
        forms = {form.name: form for form in saved.tables}
        for name, raw in raws.items():
            self._pages[name].hashes = page_hashes(raw, self._keys)
        rows = {
            name: KeptRows((slot, known[slot].packed) for slot in np.frombuffer(saved.rows[name], "<i4").tolist())
            for name, known in self._rows.items()
        }
        return {name: forms[name].array(raw) for name, raw in raws.items()}, rows

    def _take(
        self, frame: _Frame, segment: int, raws: dict[str, NDArray[np.uint8]], wanted: dict[str, set[int]]
    ) -> None:
        """Take what a frame holds over, as far as it is in force."""
        data = zstandard.ZstdDecompressor().decompress(frame.data) if frame.packed else frame.data
        numbers = np.frombuffer(frame.numbers, "<i4").astype(np.int64)
        if frame.kind == "pages" and frame.name in raws:
            pages = self._pages[frame.name]
            inside = numbers < len(pages.where)
            found = np.frombuffer(data, np.uint8).reshape(-1, PAGE_BYTES)
            raws[frame.name].reshape(-1, PAGE_BYTES)[numbers[inside]] = found[inside]
            pages.where[numbers[inside]] = segment
        elif frame.kind == "rows" and frame.name in wanted:
            ends = np.cumsum(np.frombuffer(frame.lengths, "<i4"))
            begins = ends - np.frombuffer(frame.lengths, "<i4")
            for slot, begin, end in zip(numbers.tolist(), begins.tolist(), ends.tolist(), strict=True):
                if slot in wanted[frame.name]:
                    self._rows[frame.name][slot] = _Row(data[begin:end], segment)

    def _forget_later(self) -> None:
        """Cut off what was written behind this snapshot; older files that it does not name go as ever, in a while."""
        named = {self._path(segment.number): segment.size for segment in self._segments}
        for path in self._folder.glob("*.state"):
            if not path.stem.isdigit():
                # Nobody's of ours: a copy that somebody made.
                continue
            if path in named:
                if path.stat().st_size > named[path]:
                    os.truncate(path, named[path])
            elif int(path.stem) > self._next:
                path.unlink()
            else:
                self._unnamed.add(path)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.state"


def _whole(size: int) -> int:
    """So many bytes in whole pages."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _frames(change: _Change, raw: NDArray[np.uint8] | None, rows: KeptRows | None) -> Iterable[bytes]:
    """Payloads of frames for what changed of an array or of rows."""
    step = _FRAME_ROWS if raw is None else _FRAME_PAGES
    for begin in range(0, len(change.numbers), step):
        numbers = change.numbers[begin : begin + step]
        named = (change.name, numbers.astype("<i4").tobytes())
        if raw is not None:
            yield msgspec.msgpack.encode(_Frame("pages", *named, b"", *_packed(pages_of(raw, numbers).tobytes())))
        elif rows is not None:
            found = [rows[slot] for slot in numbers.tolist()]
            lengths = np.array([len(packed) for packed in found], "<i4").tobytes()
            yield msgspec.msgpack.encode(_Frame("rows", *named, lengths, *_packed(b"".join(found))))


def _packed(raw: bytes) -> tuple[bool, bytes]:
    """Bytes, compressed where that is worth it, and whether they are."""
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    tried = raw[:_TRIED_BYTES]
    if len(compressor.compress(tried)) > _WORTH_PACKING * len(tried):
        return False, raw
    return True, compressor.compress(raw)
