"""A segment file that is being read: where in it an offset lies, and what is damaged in it."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ingest.local_log.blocks import GAP, HEADER_BYTES, Block, DamagedError, header_at
from ingest.local_log.disk import Disk
from ingest.local_log.segments import Segment, Window, stretches

# Positions are noted about this often while headers are walked: 1,024 of them in a full segment.
_NOTE_EVERY_BYTES: Final = 64 * 2**10
# Headers are walked in steps of this many bytes; larger blocks are jumped over.
_WALK_BYTES: Final = 64 * 2**10
# Readers that go on at an offset of their own.
_READERS_MAX: Final = 64
# Room for headers in a read: one of 48 bytes for lines of 384 and more is within it.
_HEADERS_SHARE: Final = 8
_NEWLINE: Final = 0x0A


class LostBytesError(Exception):
    """Offsets `offset` to `end` cannot be read: `size_bytes` from `position` on in file `path` are damaged."""

    def __init__(self, path: str, position: int, size_bytes: int, offset: int, end: int, records: int | None) -> None:
        super().__init__(f"{path} is damaged at byte {position}")
        self.path = path
        self.position = position
        self.size_bytes = size_bytes
        self.offset = offset
        self.end = end
        self.records = records


class InsideError(Exception):
    """The offset is not the begin of a line."""


class SetAsideError(Exception):
    """What was here was damaged and set aside; lines go on at offset `end`."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class OpenSegment:
    """An open segment file, and what is known of where its blocks are."""

    def __init__(self, disk: Disk, segment: Segment, path: str, fd: int) -> None:
        self._disk = disk
        self._path = path
        self.base = segment.base
        self.kind = segment.kind
        self.fd = fd
        self.limit = 0
        self._sealed = False
        # Sparse: ascending offsets of blocks and their positions.
        self._offsets: list[int] = [segment.base]
        self._positions: list[int] = [0]
        # Exact: where the readers of this segment go on.
        self._next: OrderedDict[int, int] = OrderedDict()

    def limit_to(self, limit: int | None) -> None:
        """Read no further than `limit`; None: the segment is sealed, and its file is whole."""
        if limit is not None:
            self.limit = limit
        elif not self._sealed:
            self.limit = self._disk.fstat(self.fd).size_bytes
        self._sealed = limit is None

    def position_of(self, offset: int) -> int:
        """Where the block that holds `offset` begins; where the walk ended, when a header before it is damaged."""
        known = self._next.pop(offset, None)
        if known is not None:
            return known
        place = bisect_right(self._offsets, offset) - 1
        position, at = self._positions[place], self._offsets[place]
        window = Window(self._disk, self.fd, self.limit, step_bytes=_WALK_BYTES)
        while True:
            block = header_at(window.bytes_at(position, HEADER_BYTES))
            if block is None or block.offset != at or position + block.size_bytes > self.limit:
                return self._behind_damage(position, at, offset)
            if block.end > offset:
                return position
            position, at = position + block.size_bytes, block.end
            if position - self._positions[-1] >= _NOTE_EVERY_BYTES and at > self._offsets[-1]:
                self._offsets.append(at)
                self._positions.append(position)

    def _behind_damage(self, position: int, at: int, offset: int) -> int:
        """Damage before `offset` is no concern of its reader, as long as a sound block can be found further on."""
        for stretch in stretches(Window(self._disk, self.fd, self.limit), position, at, at):
            if stretch.end > offset:
                return stretch.position
        return position

    def read(self, offset: int, end: int, max_bytes: int) -> bytes:
        """Whole lines from `offset` on, at most max_bytes but at least one. The segment should go on until `end`.

        Raises LostBytesError, SetAsideError, InsideError.
        """
        try:
            return self._read(offset, end, max_bytes)
        except DamagedError:
            raise self.lost_at(self.position_of(offset), offset, end) from None

    def _read(self, offset: int, end: int, max_bytes: int) -> bytes:
        pieces: list[bytes | memoryview] = []
        room, behind, position = max_bytes, offset, 0
        for found, block, lines in self._blocks(self.position_of(offset), offset, end, max_bytes):
            position = found
            whole = lines if offset <= block.offset else _behind(lines, offset - block.offset)
            if len(whole) > room:
                if not pieces:
                    pieces.append(_first_lines(whole, max_bytes))
                    behind = offset + len(pieces[0])
                break
            pieces.append(whole)
            room -= len(whole)
            behind = block.end
        # A block of which some lines are left, or the one behind it.
        self._remember(behind, position if behind < block.end else position + block.size_bytes)
        return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)

    def _blocks(
        self, position: int, offset: int, end: int, max_bytes: int
    ) -> Iterator[tuple[int, Block, bytes | memoryview]]:
        """Sound blocks from `position` on, from one read of the file; the first one in any case."""
        wanted = max_bytes + max_bytes // _HEADERS_SHARE + HEADER_BYTES
        window = self._disk.pread(self.fd, min(wanted, max(0, self.limit - position)), position)
        place, at = 0, offset
        while at < end:
            try:
                block = self._next_block(window, place, at, position)
                if block is None and place == 0:
                    raise self.lost_at(position, offset, end)
                if block is None:
                    return
                if place == 0 and block.size_bytes > len(window):
                    window = self._disk.pread(self.fd, block.size_bytes, position)
                behind = place + block.size_bytes
                if behind > len(window):
                    return
                lines = block.lines(memoryview(window)[place + HEADER_BYTES : behind])
            except (DamagedError, SetAsideError):
                if place == 0:
                    raise
                return
            yield position + place, block, lines
            place, at = behind, block.end

    def _next_block(self, window: bytes, place: int, at: int, position: int) -> Block | None:
        """The header at a place, of the block that holds offset `at`; None when it is damaged or not read."""
        block = header_at(window, place)
        if block is None or not block.offset <= at < block.end or position + place + block.size_bytes > self.limit:
            return None
        if block.kind == GAP:
            raise SetAsideError(block.end)
        return block

    def _remember(self, offset: int, position: int) -> None:
        """A reader will go on at `offset`, which is in the block at `position` or its begin."""
        self._next[offset] = position
        if len(self._next) > _READERS_MAX:
            self._next.popitem(last=False)

    def lost_at(self, position: int, offset: int, end: int) -> LostBytesError:
        """What is damaged from `position` on, measured by looking for the next sound block."""
        window = Window(self._disk, self.fd, self.limit)
        block = header_at(window.bytes_at(position, HEADER_BYTES))
        start = offset if block is None else block.offset
        for stretch in stretches(window, position, start, end):
            if not stretch.sound:
                records = None if stretch.block is None else stretch.block.records
                return LostBytesError(self._path, stretch.position, stretch.size_bytes, offset, stretch.end, records)
        return LostBytesError(self._path, position, 0, offset, end, None)


def _behind(lines: bytes | memoryview, start: int) -> bytes | memoryview:
    if lines[start - 1] != _NEWLINE:
        raise InsideError
    return lines[start:]


def _first_lines(lines: bytes | memoryview, max_bytes: int) -> bytes:
    """Whole lines, at most max_bytes but at least one."""
    content = bytes(lines)
    end = content.rfind(b"\n", 0, max_bytes) + 1 or content.find(b"\n") + 1
    return content[:end]
