"""Event ids seen lately: exact duplicate detection within a bounded window, shared out fairly among organisations.

Two generations of 128-bit ids for each organisation. New ids go to the current one. When the current ones together
hold `ids_max`, the largest becomes its organisation's previous one, and the ids of the one before are forgotten; when
the previous ones together hold more than that, the largest lose their oldest ids. So whoever sends much forgets its own
ids first (max-min fairness): a single organisation has at least its last `ids_max` ids, at most twice as many, and each
of n has at least its last `ids_max // n`, whatever the others send.

Memory a generation: 16 bytes an id, and 8 to 16 bytes an id of hash table (4-byte entries at a load of 1/4 to 1/2);
it grows by doubling, so 4,194,304 ids take at most 2 x 96 MiB and an idle machine takes 160 KiB.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.decode.kernel import kernel

Ids = NDArray[np.uint64]
Table = NDArray[np.uint32]
Owners = NDArray[np.int32]

_IDS_MIN: Final = 2_048


@kernel
def _home(id_hi: np.uint64, id_lo: np.uint64, mask: np.int64) -> np.int64:
    """First table slot of an id; ids are hashes already, but `id_lo` modulo shards is the same within a shard."""
    return np.int64((id_lo ^ (id_hi >> np.uint64(17))) >> np.uint64(8)) & mask


@kernel
def _find(ids: Ids, table: Table, bits: int, id_hi: np.uint64, id_lo: np.uint64) -> np.int64:
    """-1 when the id is there, else the free slot where it belongs.

    An entry is 1 + the id's number in its low `bits` bits and as much of the id as fits above them, so that nearly
    every comparison ends without a look at the ids.
    """
    mask = (np.int64(1) << bits) - 1
    number_mask = np.uint32(mask)
    mark = np.uint32((id_hi >> np.uint64(32)) << np.uint64(bits)) & ~number_mask
    slot = _home(id_hi, id_lo, mask)
    while True:
        entry = table[slot]
        if entry == 0:
            return slot
        if (entry & ~number_mask) == mark:
            number = np.int64(entry & number_mask) - 1
            if ids[number, 1] == id_lo and ids[number, 0] == id_hi:
                return np.int64(-1)
        slot = (slot + 1) & mask


@kernel
def _put(table: Table, bits: int, slot: np.int64, id_hi: np.uint64, number: int) -> None:
    mark = np.uint32((id_hi >> np.uint64(32)) << np.uint64(bits)) & ~np.uint32((np.int64(1) << bits) - 1)
    table[slot] = mark | np.uint32(number + 1)


@kernel
def _fill(ids: Ids, count: int, table: Table, bits: int) -> None:
    """Enter the first `count` ids, all different, into an empty table."""
    for number in range(count):
        slot = _find(ids, table, bits, ids[number, 0], ids[number, 1])
        _put(table, bits, slot, ids[number, 0], number)


@kernel
def _known(
    id_hi: Ids, id_lo: Ids, ids: Ids, table: Table, bits: int, old_ids: Ids, old_table: Table, old_bits: int
) -> NDArray[np.bool_]:
    """Whether each id is there already; remembers nothing."""
    known = np.empty(len(id_lo), np.bool_)
    for row in range(len(id_lo)):
        hi, lo = id_hi[row], id_lo[row]
        known[row] = _find(ids, table, bits, hi, lo) < 0 or _find(old_ids, old_table, old_bits, hi, lo) < 0
    return known


@kernel
def _mark_new(
    id_hi: Ids,
    id_lo: Ids,
    row: int,
    ids: Ids,
    count: int,
    table: Table,
    bits: int,
    old_ids: Ids,
    old_table: Table,
    old_bits: int,
    new: NDArray[np.bool_],
) -> tuple[int, int]:
    """Mark rows with a new id and remember it; returns the row where it stopped (full, or the end) and the count."""
    room = len(ids)
    while row < len(id_lo):
        if count == room:
            break
        hi, lo = id_hi[row], id_lo[row]
        new[row] = False
        if _find(old_ids, old_table, old_bits, hi, lo) >= 0:
            slot = _find(ids, table, bits, hi, lo)
            if slot >= 0:
                ids[count, 0] = hi
                ids[count, 1] = lo
                _put(table, bits, slot, hi, count)
                count += 1
                new[row] = True
        row += 1
    return row, count


class _Generation:
    """Ids in order of arrival, and the table that finds them."""

    def __init__(self, room: int) -> None:
        self.count = 0
        self._allocate(room)

    def _allocate(self, room: int) -> None:
        self.ids = np.empty((room, 2), np.uint64)
        # The load stays under one half.
        self.bits = int(2 * room - 1).bit_length()
        self.table = np.zeros(1 << self.bits, np.uint32)

    def grow(self, room: int) -> None:
        kept = self.ids[: self.count]
        self._allocate(room)
        self.ids[: self.count] = kept
        _fill(self.ids, self.count, self.table, self.bits)

    @classmethod
    def of(cls, ids: Ids, room: int) -> _Generation:
        generation = cls(room)
        generation.count = len(ids)
        generation.ids[: len(ids)] = ids
        _fill(generation.ids, generation.count, generation.table, generation.bits)
        return generation


class _Memory:
    """What is remembered of one organisation."""

    def __init__(self, ids_max: int) -> None:
        self._ids_max = ids_max
        self.current = _Generation(min(_IDS_MIN, ids_max))
        self.previous = _Generation(1)

    def mark_new(self, id_hi: Ids, id_lo: Ids) -> NDArray[np.bool_]:
        """True for rows with a new id; remembers them. The caller has seen to the room."""
        new = np.empty(len(id_lo), np.bool_)
        row = 0
        while row < len(id_lo):
            now, old = self.current, self.previous
            if now.count == len(now.ids):
                now.grow(max(now.count + 1, min(2 * now.count, self._ids_max)))
            row, now.count = _mark_new(
                id_hi, id_lo, row, now.ids, now.count, now.table, now.bits, old.ids, old.table, old.bits, new
            )
        return new

    def known(self, id_hi: Ids, id_lo: Ids) -> NDArray[np.bool_]:
        """True for rows whose id is there already."""
        now, old = self.current, self.previous
        return _known(id_hi, id_lo, now.ids, now.table, now.bits, old.ids, old.table, old.bits)

    def rotate(self) -> None:
        """Begin a new generation."""
        self.previous, self.current = self.current, _Generation(min(_IDS_MIN, self._ids_max))

    def trim(self, level: int) -> None:
        """Keep the newest ids of the previous generation."""
        kept = self.previous.ids[self.previous.count - level : self.previous.count]
        self.previous = _Generation.of(kept, max(1, level))

    @classmethod
    def restore(cls, previous: Ids, current: Ids, ids_max: int) -> _Memory:
        memory = cls(ids_max)
        memory.previous = _Generation.of(previous, max(1, len(previous)))
        memory.current = _Generation.of(current, max(min(_IDS_MIN, ids_max), len(current)))
        return memory


class SeenIds:
    """The ids of the last events of each organisation: see above. Organisations are numbered from 0."""

    def __init__(self, ids_max: int) -> None:
        self.ids_max = ids_max
        self._memories: list[_Memory] = []
        self._held = 0

    def mark_new(self, id_hi: Ids, id_lo: Ids, owner: Owners | None = None) -> NDArray[np.bool_]:
        """True for rows whose id was not seen before, neither earlier nor in an earlier row; remembers them.

        `owner` has the rows' organisations; None: all are of number 0. How rows are cut into calls makes no difference.
        """
        id_hi, id_lo = np.ascontiguousarray(id_hi), np.ascontiguousarray(id_lo)
        new = np.empty(len(id_lo), np.bool_)
        row = 0
        while row < len(id_lo):
            end = self._end_of_room(id_hi, id_lo, owner, row)
            for memory, rows in self._by_memory(owner, row, end):
                held = memory.current.count
                new[rows] = memory.mark_new(id_hi[rows], id_lo[rows])
                self._held += memory.current.count - held
            row = end
            if self._held >= self.ids_max:
                self._make_room()
        return new

    def _by_memory(self, owner: Owners | None, row: int, end: int) -> list[tuple[_Memory, Any]]:
        """The rows from `row` to `end` of each organisation, in order."""
        if owner is None:
            return [(self._memory(0), slice(row, end))]
        here = owner[row:end]
        present = np.flatnonzero(np.bincount(here)).tolist()
        if len(present) == 1:
            return [(self._memory(present[0]), slice(row, end))]
        return [(self._memory(number), row + np.flatnonzero(here == number)) for number in present]

    def _memory(self, number: int) -> _Memory:
        while len(self._memories) <= number:
            self._memories.append(_Memory(self.ids_max))
        return self._memories[number]

    def _end_of_room(self, id_hi: Ids, id_lo: Ids, owner: Owners | None, row: int) -> int:
        """The row up to which ids surely fit: behind the last of as many unknown ones as there is room for."""
        room = self.ids_max - self._held
        if len(id_lo) - row <= room:
            return len(id_lo)
        unknown = np.zeros(len(id_lo), np.bool_)
        for memory, rows in self._by_memory(owner, row, len(id_lo)):
            unknown[rows] = ~memory.known(id_hi[rows], id_lo[rows])
        places = np.flatnonzero(unknown)
        return len(id_lo) if len(places) <= room else int(places[room - 1]) + 1

    def _make_room(self) -> None:
        largest = max(self._memories, key=lambda memory: memory.current.count)
        largest.rotate()
        self._held = sum(memory.current.count for memory in self._memories)
        counts = [memory.previous.count for memory in self._memories]
        level = _level(counts, self.ids_max)
        for memory, count in zip(self._memories, counts, strict=True):
            if count > level:
                memory.trim(level)

    def snapshot(self) -> list[tuple[Ids, Ids]]:
        """The ids of both generations of each organisation in order of arrival, 16 bytes each."""
        return [
            (m.previous.ids[: m.previous.count].copy(), m.current.ids[: m.current.count].copy()) for m in self._memories
        ]

    @classmethod
    def restore(cls, snapshot: list[tuple[Ids, Ids]], ids_max: int) -> SeenIds:
        """The state of the snapshot; `ids_max` may differ from what it was taken with."""
        seen = cls(ids_max)
        seen._memories = [_Memory.restore(previous, current, ids_max) for previous, current in snapshot]
        seen._held = sum(memory.current.count for memory in seen._memories)
        while seen._held >= ids_max:
            seen._make_room()
        return seen


def _level(counts: list[int], total: int) -> int:
    """How much each may keep so that all together keep at most `total`: what is small stays whole.

    >>> _level([10, 2, 9], 30), _level([10, 2, 9], 12)
    (10, 5)
    """
    left, among = total, len(counts)
    for count in sorted(counts):
        if count * among > left:
            return left // among
        left, among = left - count, among - 1
    return max(counts, default=0)
