"""Ids seen lately: duplicates are found exactly within a bounded memory, shared out fairly among organisations.

Each organisation has a ring of the fingerprints of its last ids, in order of arrival, and a table that finds them. All
together hold at most `ids_max`. When a new id comes and they are full, the organisation that holds most forgets its
oldest (max-min fairness): so whoever sends much forgets its own ids first, a single organisation has its last `ids_max`
ids, and each of n has at least its last `ids_max // n`, whatever the others send.

A fingerprint is a 64-bit hash of organisation, campaign and event id. Two ids of one organisation are taken for one
with a chance of ids_max / 2**64 an event: with 8,388,608 ids one event in 2.2e12, at 20,000 events/s one in 3.5 years.
Organisations have tables of their own, so no id that somebody makes up drops an event of another's.

Memory: 8 bytes an id in the ring and 12.8 in the table at its fullest (linear probing, load 5/8, Knuth 6.4; deletion
moves later entries back, so there are no tombstones and no rebuilding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.windows.unowned import fetch
from schemas.decode.kernel import inlined, kernel
from schemas.decode.memory import get_word, put_word
from schemas.decode.words import SPREAD

Fingerprints = NDArray[np.uint64]
Owners = NDArray[np.int32]

_ROOM_MIN: Final = 1_024
# Slots of a table for each id that there is room for.
_SLOTS_AN_ID: Final = 1.6
# An organisation's arrays are made smaller when it holds less than this part of what they have room for.
_SHRINK_PART: Final = 4
# Rows ahead of the one in hand whose slots are fetched into the cache.
_AHEAD: Final = 12
# Why the kernel stopped: all rows done, or the row's organisation needs a larger ring.
_DONE: Final = 0
_FULL: Final = 1

_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_HALF: Final = np.uint64(32)

# One row an organisation: addresses of its ring and table, their sizes, where its oldest id is and how many it holds,
# and how many came since that was last asked.
_MEMORY: Final = np.dtype(
    [
        ("ring", np.int64),
        ("room", np.int64),
        ("oldest", np.int64),
        ("count", np.int64),
        ("table", np.int64),
        ("slots", np.int64),
        ("added", np.int64),
    ]
)


@inlined
def _home(fingerprint: np.uint64, slots: int, spread: np.uint64) -> int:
    """The first slot to look at: spread by a product (Knuth 6.4), its upper half scaled to the table (Lemire 2019)."""
    return np.int64((((fingerprint * spread) >> _HALF) * np.uint64(slots)) >> _HALF)  # type: ignore[return-value]


@inlined
def _stored(fingerprint: np.uint64) -> np.uint64:
    """What stands for a fingerprint in a table, where 0 is a free slot."""
    return _ONE if fingerprint == _ZERO else fingerprint


@inlined
def _slot_of(table: int, slots: int, fingerprint: np.uint64, spread: np.uint64) -> int:
    """The slot that holds a fingerprint, else minus one minus the free slot where it belongs."""
    slot = _home(fingerprint, slots, spread)
    while True:
        there = get_word(table, slot)
        if there == fingerprint:
            return slot
        if there == _ZERO:
            return -1 - slot
        slot += 1
        if slot == slots:
            slot = 0


@inlined
def _remove(table: int, slots: int, fingerprint: np.uint64, spread: np.uint64) -> None:
    """Take a fingerprint out, and move back what was pushed on by it."""
    hole = _slot_of(table, slots, fingerprint, spread)
    place = hole
    while True:
        place += 1
        if place == slots:
            place = 0
        there = get_word(table, place)
        if there == _ZERO:
            break
        pushed = place - _home(there, slots, spread)
        gap = place - hole
        if (pushed if pushed >= 0 else pushed + slots) >= (gap if gap >= 0 else gap + slots):
            put_word(table, hole, there)
            hole = place
    put_word(table, hole, _ZERO)


@inlined
def _forget_oldest(memory: NDArray[np.void], number: int, spread: np.uint64) -> None:
    m = memory[number]
    _remove(m.table, m.slots, get_word(m.ring, m.oldest), spread)
    m.oldest = 0 if m.oldest + 1 == m.room else m.oldest + 1
    m.count -= 1


@inlined
def _largest(memory: NDArray[np.void], number: int) -> int:
    """The organisation that holds most, `number` among equals, else the first."""
    most = number
    for other in range(len(memory)):
        if memory[other].count > memory[most].count:
            most = other
    return most


@kernel
def _mark_new(
    memory: NDArray[np.void],
    fingerprints: Fingerprints,
    owner: Owners,
    row: int,
    held: int,
    ids_max: int,
    spread: np.uint64,
    new: NDArray[np.bool_],
) -> tuple[int, int, int]:
    """Mark rows with a new id and remember it; returns the next row, how many ids are held, and why it stopped."""
    while row < len(fingerprints):
        far = row + _AHEAD
        if far < len(fingerprints):
            soon = memory[owner[far]]
            fetch(soon.table + 8 * _home(_stored(fingerprints[far]), soon.slots, spread))
            if held >= ids_max:
                drop = soon.oldest + _AHEAD
                if drop < soon.room:
                    fetch(soon.table + 8 * _home(get_word(soon.ring, drop), soon.slots, spread))
        number = owner[row]
        fingerprint = _stored(fingerprints[row])
        m = memory[number]
        slot = _slot_of(m.table, m.slots, fingerprint, spread)
        new[row] = slot < 0
        if slot < 0:
            if held == ids_max:
                _forget_oldest(memory, _largest(memory, number), spread)
                held -= 1
                # Entries may have moved.
                slot = _slot_of(m.table, m.slots, fingerprint, spread)
            if m.count == m.room:
                return row, held, _FULL
            put_word(m.table, -1 - slot, fingerprint)
            place = m.oldest + m.count
            put_word(m.ring, place if place < m.room else place - m.room, fingerprint)
            m.count += 1
            m.added += 1
            held += 1
        row += 1
    return row, held, _DONE


@kernel
def _fill(table: int, slots: int, ring: Fingerprints, spread: np.uint64) -> int:
    """Enter fingerprints into a table with room for them; returns how many of them were there already."""
    twice = 0
    for place in range(len(ring)):
        slot = _slot_of(table, slots, ring[place], spread)
        if slot < 0:
            put_word(table, -1 - slot, ring[place])
        else:
            twice += 1
    return twice


@dataclass(slots=True)
class _Arrays:
    """The memory behind one row of addresses."""

    ring: Fingerprints
    table: Fingerprints

    @classmethod
    def of(cls, kept: Fingerprints, room: int, spread: np.uint64) -> _Arrays:
        """Room for so many ids, those that are kept in it already; raises ValueError where one is there twice."""
        ring = np.empty(room, np.uint64)
        ring[: len(kept)] = kept
        # Empty and then zeroed, so that numpy asks for large pages.
        table = np.empty(int(_SLOTS_AN_ID * room) + 2, np.uint64)
        table[:] = 0
        if _fill(table.ctypes.data, len(table), ring[: len(kept)], spread):
            raise ValueError("an id is kept twice")
        return cls(ring, table)


class SeenIds:
    """The last ids of each organisation: see above. Organisations are numbered from 0, without gaps.

    `spread` is an odd number of 64 bits. It has no influence on any answer; where senders cannot know it they cannot
    make up ids that crowd into a few slots, so that each look-up goes through many.
    """

    def __init__(self, ids_max: int, spread: int = int(SPREAD)) -> None:
        if not 1 <= ids_max < 2**31:
            raise ValueError(f"ids_max is {ids_max}, not between 1 and {2**31 - 1}")
        self.ids_max = ids_max
        self._spread = np.uint64(spread | 1)
        self._memory = np.zeros(0, _MEMORY)
        self._arrays: list[_Arrays] = []
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def mark_new(self, fingerprints: Fingerprints, owner: Owners | None = None) -> NDArray[np.bool_]:
        """True for rows whose id is not in memory, neither from earlier calls nor rows; remembers them.

        `owner` has the rows' organisations; None: all are of number 0. How rows are cut into calls makes no difference.
        """
        fingerprints = np.ascontiguousarray(fingerprints, np.uint64)
        new = np.empty(len(fingerprints), np.bool_)
        if len(new) == 0:
            return new
        owners = np.zeros(len(new), np.int32) if owner is None else np.ascontiguousarray(owner, np.int32)
        self._know(int(owners.max()) + 1)
        row = 0
        while row < len(new):
            row, self._held, stop = _mark_new(
                self._memory, fingerprints, owners, row, self._held, self.ids_max, self._spread, new
            )
            if stop == _FULL:
                number = int(owners[row])
                room = len(self._arrays[number].ring)
                self._resize(number, min(max(2 * room, _ROOM_MIN), self.ids_max))
        self._shrink()
        return new

    def kept(self, number: int, newest: int | None = None) -> Fingerprints:
        """The ids of an organisation in order of arrival, a copy; only the newest so many where that is given."""
        m, ring = self._memory[number], self._arrays[number].ring
        count = int(m["count"]) if newest is None else min(newest, int(m["count"]))
        first = (int(m["oldest"]) + int(m["count"]) - count) % len(ring)
        return np.concatenate([ring[first : first + count], ring[: max(0, first + count - len(ring))]])

    def counts(self) -> NDArray[np.int64]:
        """How many ids each organisation has."""
        return self._memory["count"].copy()

    def added(self) -> list[Fingerprints]:
        """By organisation: its ids since `settle` was last called, in order, as far as they are still kept."""
        return [self.kept(number, int(many)) for number, many in enumerate(self._memory["added"].tolist())]

    def settle(self) -> None:
        """What was added is kept elsewhere now."""
        self._memory["added"] = 0

    def unsettle(self) -> None:
        """All of it is kept nowhere else yet."""
        self._memory["added"] = self._memory["count"]

    @classmethod
    def restore(cls, kept: Sequence[Fingerprints], ids_max: int, spread: int = int(SPREAD)) -> SeenIds:
        """A memory of these ids, by organisation in order of arrival; what passes `ids_max` is forgotten fairly.

        Raises ValueError where an id of an organisation is there twice.
        """
        seen = cls(ids_max, spread)
        counts = [len(ids) for ids in kept]
        level = fair_level(counts, ids_max)
        seen._know(len(counts))
        for number, ids in enumerate(kept):
            newest = ids[max(0, len(ids) - level) :]
            seen._keep(number, _Arrays.of(newest, _room_for(len(newest), ids_max), seen._spread), len(newest))
        seen._held = int(seen._memory["count"].sum())
        return seen

    def longest_probe(self) -> int:
        """The longest run of taken slots: what a look-up goes through at most."""
        longest = 0
        for arrays in self._arrays:
            free = np.flatnonzero(arrays.table == 0)
            longest = max(longest, int(np.diff(np.concatenate([free, free[:1] + len(arrays.table)])).max()) - 1)
        return longest

    def memory_bytes(self) -> int:
        """Size of all rings and tables."""
        return sum(arrays.ring.nbytes + arrays.table.nbytes for arrays in self._arrays)

    def _know(self, organisations: int) -> None:
        known = len(self._arrays)
        if organisations > known:
            self._memory = np.concatenate([self._memory, np.zeros(organisations - known, _MEMORY)])
            for number in range(known, organisations):
                self._arrays.append(_Arrays.of(np.empty(0, np.uint64), 1, self._spread))
                self._keep(number, self._arrays[number], 0)

    def _keep(self, number: int, arrays: _Arrays, count: int) -> None:
        """Let an organisation's row speak of these arrays, whose oldest id comes first."""
        added = self._memory[number]["added"]
        self._arrays[number] = arrays
        addresses = arrays.ring.ctypes.data, arrays.table.ctypes.data
        self._memory[number] = (
            addresses[0], len(arrays.ring), 0, count, addresses[1], len(arrays.table), added,
        )  # fmt: skip

    def _resize(self, number: int, room: int) -> None:
        ids = self.kept(number)
        self._keep(number, _Arrays.of(ids, room, self._spread), len(ids))

    def _shrink(self) -> None:
        """Give back what organisations no longer need, so that the sum of all arrays stays within a few bounds."""
        spare = (self._memory["room"] > _ROOM_MIN) & (self._memory["count"] * _SHRINK_PART < self._memory["room"])
        for number in np.flatnonzero(spare).tolist():
            self._resize(number, _room_for(int(self._memory[number]["count"]), self.ids_max))


def _room_for(count: int, ids_max: int) -> int:
    """Room for as many again, within the bounds."""
    return max(1, min(ids_max, max(2 * count, min(_ROOM_MIN, ids_max))))


def fair_level(counts: Sequence[int], total: int) -> int:
    """How much each may keep so that all together keep at most `total`: what is small stays whole.

    >>> fair_level([10, 2, 9], 30), fair_level([10, 2, 9], 12)
    (10, 5)
    """
    left, among = total, len(counts)
    for count in sorted(counts):
        if count * among > left:
            return left // among
        left, among = left - count, among - 1
    return max(counts, default=0)
