"""Distinct actors: HyperLogLog sketches in one block of memory, sparse while small.

A sketch of m registers has a standard error of 1.04/sqrt(m) (Flajolet et al. 2007): 6.5% for the 256 registers of
series windows and of 10 s and 1 min windows, 3.25% for the 1,024 of a campaign's hours, days and total. Counts are
read with the estimator of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6,
which needs no correction tables and is close to exact while few registers are used.

A sparse sketch is a hash table of (register << 6 | rank) in 16 bits: 16 bytes up to 6 actors, doubling up to a quarter
of the registers, then one byte a register. A register holds the most trailing zeros seen, plus one, of the part of the
hash that did not choose the register; the 256 registers of a small sketch are the large one's folded by their low bits.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy.typing import NDArray

from flows.logic.windows.layout import Hash, Header, Int, Records, WindowMeta
from flows.logic.windows.unowned import inlined
from schemas.decode.kernel import kernel

SMALL: Final = 256
LARGE: Final = 1_024
# 54 bits of the hash give the rank: 1 to 55.
RANK_BITS: Final = 54
RANKS: Final = RANK_BITS + 2
# A handle is block << 4 | class. Class k < DENSE_SMALL: sparse, 8 << k entries.
DENSE_SMALL: Final = 14
DENSE_LARGE: Final = 15
# A block is 8 entries of 16 bits.
_BLOCK: Final = 8

Entries: TypeAlias = NDArray[np.uint16]
Registers: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.int64]
Meta: TypeAlias = Records[WindowMeta]
HeaderRow: TypeAlias = Records[Header]
_ALPHA: Final = 1 / (2 * math.log(2))


@inlined
def spread(actor: Hash) -> Hash:
    """The 64-bit finaliser of splitmix64, so that any actor hash will do."""
    h = (actor ^ (actor >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@inlined
def rank_of(h: Hash) -> Int:
    """Trailing zeros, plus one, of the part of the hash above the register number."""
    return np.int64(trailing_zeros((h >> np.uint64(10)) | (np.uint64(1) << np.uint64(RANK_BITS)))) + 1


@inlined
def _size_log(kind: Int) -> Int:
    """Binary logarithm of the blocks of a sketch class."""
    if kind == DENSE_SMALL:
        return 4
    if kind == DENSE_LARGE:
        return 6
    return kind


@kernel
def _take_blocks(entries: Entries, header: HeaderRow, kind: Int) -> Int:
    """A handle to zeroed memory for the class; the caller has seen to the room."""
    size_log = _size_log(kind)
    block = header[0].blocks_free[size_log]
    if block == 0:
        block = header[0].blocks_end
        header[0].blocks_end = block + (1 << size_log)
    else:
        at = block * _BLOCK
        header[0].blocks_free[size_log] = np.int64(entries[at]) | (np.int64(entries[at + 1]) << 16)
    for at in range(block * _BLOCK, (block + (1 << size_log)) * _BLOCK):
        entries[at] = 0
    return (block << 4) | kind


@kernel
def drop_sketch(meta: Meta, entries: Entries, header: HeaderRow, window: Int) -> None:
    """Give the memory of a window's sketch back."""
    handle = np.int64(meta[window].sketch)
    if handle != 0:
        size_log = _size_log(handle & 15)
        at = (handle >> 4) * _BLOCK
        head = header[0].blocks_free[size_log]
        entries[at] = head & 0xFFFF
        entries[at + 1] = head >> 16
        header[0].blocks_free[size_log] = handle >> 4
        meta[window].sketch = 0


@inlined
def _sparse_slot(entries: Entries, handle: Int, register: Int) -> Int:
    """Where a register is, or belongs, in a sparse sketch."""
    mask = (8 << (handle & 15)) - 1
    base = (handle >> 4) * _BLOCK
    slot = (register * 157) & mask
    while True:
        entry = np.int64(entries[base + slot])
        if entry == 0 or (entry >> 6) == register:
            return base + slot
        slot = (slot + 1) & mask


@kernel
def _enlarge(meta: Meta, entries: Entries, registers: Registers, header: HeaderRow, window: Int, size: Int) -> None:
    """Move a full sparse sketch into twice the room, or one byte a register."""
    old = np.int64(meta[window].sketch)
    kind: Int = (old & 15) + 1
    dense = (8 << kind) >= size // 2
    if dense:
        kind = DENSE_SMALL if size == SMALL else DENSE_LARGE
    new = _take_blocks(entries, header, kind)
    base = (old >> 4) * _BLOCK
    for at in range(base, base + (8 << (old & 15))):
        entry = np.int64(entries[at])
        if entry != 0 and dense:
            registers[(new >> 4) * 2 * _BLOCK + (entry >> 6)] = entry & 63
        elif entry != 0:
            entries[_sparse_slot(entries, new, entry >> 6)] = entry
    drop_sketch(meta, entries, header, window)
    meta[window].sketch = new


@kernel
def _raise_sparse(
    meta: Meta,
    entries: Entries,
    registers: Registers,
    header: HeaderRow,
    window: Int,
    register: Int,
    rank: Int,
    size: Int,
) -> bool:
    """Raise one register of a sketch that is empty or sparse; False when it was as high."""
    handle: Int = np.int64(meta[window].sketch)
    if handle == 0:
        handle = _take_blocks(entries, header, 0)
        meta[window].sketch = handle
        meta[window].sketch_used = 0
    place = _sparse_slot(entries, handle, register)
    entry = np.int64(entries[place])
    if entry != 0:
        if (entry & 63) >= rank:
            return False
        entries[place] = (register << 6) | rank
        return True
    entries[place] = (register << 6) | rank
    used = meta[window].sketch_used + 1
    meta[window].sketch_used = used
    if used * 4 >= (8 << (handle & 15)) * 3:
        _enlarge(meta, entries, registers, header, window, size)
    return True


@inlined
def add_actor(
    meta: Meta, entries: Entries, registers: Registers, header: HeaderRow, window: Int, h: Hash, size: Int
) -> bool:
    """Count an actor in a window whose sketch has `size` registers; False when the sketch is as before."""
    register, rank = np.int64(h) & (size - 1), rank_of(h)
    handle = np.int64(meta[window].sketch)
    if (handle & 15) < DENSE_SMALL:
        return _raise_sparse(meta, entries, registers, header, window, register, rank, size)
    at = (handle >> 4) * 2 * _BLOCK + register
    if registers[at] >= rank:
        return False
    registers[at] = rank
    return True


@kernel
def merge_up(
    meta: Meta, entries: Entries, registers: Registers, header: HeaderRow, lower: Int, upper: Int, size: Int
) -> None:
    """Count everybody that a window has met in the window of a coarser window, both of `size` registers."""
    handle = np.int64(meta[lower].sketch)
    if handle == 0:
        return
    target = np.int64(meta[upper].sketch)
    base = (handle >> 4) * _BLOCK
    if (handle & 15) < DENSE_SMALL:
        for at in range(base, base + (8 << (handle & 15))):
            entry = np.int64(entries[at])
            if entry != 0 and (target & 15) >= DENSE_SMALL:
                place = (target >> 4) * 2 * _BLOCK + (entry >> 6)
                registers[place] = max(registers[place], entry & 63)
            elif entry != 0:
                _raise_sparse(meta, entries, registers, header, upper, entry >> 6, entry & 63, size)
                target = np.int64(meta[upper].sketch)
        return
    while (np.int64(meta[upper].sketch) & 15) < DENSE_SMALL:
        if meta[upper].sketch == 0:
            meta[upper].sketch = _take_blocks(entries, header, DENSE_SMALL if size == SMALL else DENSE_LARGE)
        else:
            _enlarge(meta, entries, registers, header, upper, size)
    _raise_all(registers, (np.int64(meta[upper].sketch) >> 4) * 2 * _BLOCK, 2 * base, size)


@kernel
def _raise_all(registers: Registers, target: Int, source: Int, size: Int) -> None:
    """Raise dense registers to those of another sketch."""
    for register in range(size):
        if registers[source + register] > registers[target + register]:
            registers[target + register] = registers[source + register]


@kernel
def merge_into(meta: Meta, entries: Entries, registers: Registers, window: Int, out: Registers) -> None:
    """Raise the registers of `out` to those of the window's sketch; as long as the sketch's number of registers."""
    handle = np.int64(meta[window].sketch)
    if handle == 0:
        return
    kind = handle & 15
    if kind >= DENSE_SMALL:
        base = (handle >> 4) * 2 * _BLOCK
        for register in range(len(out)):
            out[register] = max(out[register], registers[base + register])
        return
    base = (handle >> 4) * _BLOCK
    for at in range(base, base + (8 << kind)):
        entry = np.int64(entries[at])
        out[entry >> 6] = max(np.int64(out[entry >> 6]), entry & 63)


@kernel
def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1.0 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) * (1.0 - x) * y
    return z / 3.0


def _sigma(x: float) -> float:
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


# sigma of the share of registers that are zero, for each number of those: all that the estimator looks up.
_SIGMA_SMALL: Final = np.array([_sigma(zeros / SMALL) for zeros in range(SMALL)])
_SIGMA_LARGE: Final = np.array([_sigma(zeros / LARGE) for zeros in range(LARGE)])


@kernel
def _estimate(count: Words, highest: Int, m: int) -> Int:
    """Ertl's algorithm 6: `count[k]` of the m registers are k, none above `highest`."""
    if count[0] == m:
        return 0
    z = 0.0 if count[RANK_BITS + 1] == 0 else m * _tau(1.0 - count[RANK_BITS + 1] / m)
    # From above the highest rank on there is nothing to add up.
    for rank in range(min(highest, RANK_BITS), 0, -1):
        z = 0.5 * (z + count[rank])
    z += m * (_SIGMA_SMALL[count[0]] if m == SMALL else _SIGMA_LARGE[count[0]])
    return np.int64(round(_ALPHA * m * m / z))


@kernel
def distinct(registers: NDArray[np.uint8]) -> Int:
    """Estimated number of distinct actors behind some registers, SMALL or LARGE many."""
    count = np.zeros(RANKS, np.int64)
    for register in range(len(registers)):
        count[registers[register]] += 1
    return _estimate(count, RANK_BITS + 1, len(registers))


@kernel
def distinct_of(entries: Entries, registers: Registers, handle: Int, size: int, count: Words) -> Int:
    """Estimated number of distinct actors in a sketch of so many registers, without spreading a sparse one out.

    `count`, of RANKS numbers, is there to be written on.
    """
    if handle == 0:
        return 0
    count[:] = 0
    kind = handle & 15
    base = (handle >> 4) * _BLOCK
    if kind >= DENSE_SMALL:
        for register in range(2 * base, 2 * base + size):
            count[registers[register]] += 1
        return _estimate(count, RANK_BITS + 1, size)
    used, highest = 0, np.int64(0)
    for at in range(base, base + (8 << kind)):
        entry = np.int64(entries[at])
        if entry != 0:
            count[entry & 63] += 1
            highest = max(highest, entry & 63)
            used += 1
    count[0] = size - used
    return _estimate(count, highest, size)
