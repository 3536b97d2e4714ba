"""Event ids seen lately: exact duplicate detection within a bounded window.

Two generations of 128-bit ids. New ids go to the current one; when it holds `ids_max` it becomes the previous one and
the ids of the one before are forgotten. So at least the last `ids_max` ids are known, at most twice as many.

Memory a generation: 16 bytes an id, and 8 to 16 bytes an id of hash table (4-byte entries at a load of 1/4 to 1/2);
it grows by doubling, so 4,194,304 ids take at most 2 x 96 MiB and an idle machine takes 160 KiB.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.decode.kernel import kernel

Ids = NDArray[np.uint64]
Table = NDArray[np.uint32]

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


class SeenIds:
    """The ids of at least the last `ids_max` distinct events."""

    def __init__(self, ids_max: int) -> None:
        self.ids_max = ids_max
        self._current = _Generation(min(_IDS_MIN, ids_max))
        self._previous = _Generation(1)

    def mark_new(self, id_hi: Ids, id_lo: Ids) -> NDArray[np.bool_]:
        """True for rows whose id was not seen before, neither earlier nor in an earlier row; remembers them."""
        id_hi, id_lo = np.ascontiguousarray(id_hi), np.ascontiguousarray(id_lo)
        new = np.empty(len(id_lo), np.bool_)
        row = 0
        while row < len(id_lo):
            now, old = self._current, self._previous
            row, now.count = _mark_new(
                id_hi, id_lo, row, now.ids, now.count, now.table, now.bits, old.ids, old.table, old.bits, new
            )
            if now.count == len(now.ids):
                self._make_room()
        return new

    def _make_room(self) -> None:
        held = self._current.count
        if held < self.ids_max:
            self._current.grow(min(2 * held, self.ids_max))
        else:
            self._previous = self._current
            self._current = _Generation(min(_IDS_MIN, self.ids_max))

    def snapshot(self) -> tuple[Ids, Ids]:
        """The ids of both generations in order of arrival, 16 bytes each."""
        return (
            self._previous.ids[: self._previous.count].copy(),
            self._current.ids[: self._current.count].copy(),
        )

    @classmethod
    def restore(cls, snapshot: tuple[Ids, Ids], ids_max: int) -> SeenIds:
        """The state of the snapshot; `ids_max` may differ from what it was taken with."""
        previous, current = snapshot
        seen = cls(ids_max)
        seen._previous = _Generation.of(previous, max(1, len(previous)))
        room = 1 << len(current).bit_length()
        seen._current = _Generation.of(current, max(room, min(_IDS_MIN, ids_max)))
        return seen
