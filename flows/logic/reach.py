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
from typing import Final

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy.typing import NDArray

from flows.logic.layout import BLOCKS_END, BLOCKS_FREE, SKETCH, SKETCH_USED, Hash, Int, State
from schemas.decode.kernel import kernel

SMALL: Final = 256
LARGE: Final = 1_024
# 54 bits of the hash give the rank: 1 to 55.
RANK_BITS: Final = 54
# A handle is block << 4 | class. Class k < DENSE_SMALL: sparse, 8 << k entries.
DENSE_SMALL: Final = 14
DENSE_LARGE: Final = 15
# A block is 8 entries of 16 bits.
_BLOCK: Final = 8
_ALPHA: Final = 1 / (2 * math.log(2))


@kernel
def spread(actor: Hash) -> Hash:
    """The 64-bit finaliser of splitmix64, so that any actor hash will do."""
    h = (actor ^ (actor >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@kernel
def rank_of(h: Hash) -> Int:
    """Trailing zeros, plus one, of the part of the hash above the register number."""
    return np.int64(trailing_zeros((h >> np.uint64(10)) | (np.uint64(1) << np.uint64(RANK_BITS)))) + 1


@kernel
def _size_log(kind: Int) -> Int:
    """Binary logarithm of the blocks of a sketch class."""
    if kind == DENSE_SMALL:
        return 4
    if kind == DENSE_LARGE:
        return 6
    return kind


@kernel
def _take_blocks(s: State, kind: Int) -> Int:
    """A handle to zeroed memory for the class; the caller has seen to the room."""
    size_log = _size_log(kind)
    block = s.marks[BLOCKS_FREE + size_log]
    if block == 0:
        block = s.marks[BLOCKS_END]
        s.marks[BLOCKS_END] = block + (1 << size_log)
    else:
        at = block * _BLOCK
        s.marks[BLOCKS_FREE + size_log] = np.int64(s.entries[at]) | (np.int64(s.entries[at + 1]) << 16)
    s.entries[block * _BLOCK : (block + (1 << size_log)) * _BLOCK] = 0
    return (block << 4) | kind


@kernel
def drop_sketch(s: State, cell: Int) -> None:
    """Give the memory of a cell's sketch back."""
    handle = np.int64(s.links[cell, SKETCH])
    if handle != 0:
        size_log = _size_log(handle & 15)
        at = (handle >> 4) * _BLOCK
        head = s.marks[BLOCKS_FREE + size_log]
        s.entries[at] = head & 0xFFFF
        s.entries[at + 1] = head >> 16
        s.marks[BLOCKS_FREE + size_log] = handle >> 4
        s.links[cell, SKETCH] = 0


@kernel
def _sparse_slot(s: State, handle: Int, register: Int) -> Int:
    """Where a register is, or belongs, in a sparse sketch."""
    mask = (8 << (handle & 15)) - 1
    base = (handle >> 4) * _BLOCK
    slot = (register * 157) & mask
    while True:
        entry = s.entries[base + slot]
        if entry == 0 or (entry >> 6) == register:
            return base + slot
        slot = (slot + 1) & mask


@kernel
def _enlarge(s: State, cell: Int, registers: Int) -> Int:
    """Move a full sparse sketch into twice the room, or one byte a register."""
    old = np.int64(s.links[cell, SKETCH])
    kind = (old & 15) + 1
    dense = (8 << kind) >= registers // 2
    if dense:
        kind = DENSE_SMALL if registers == SMALL else DENSE_LARGE
    new = _take_blocks(s, kind)
    base = (old >> 4) * _BLOCK
    for at in range(base, base + (8 << (old & 15))):
        entry = s.entries[at]
        if entry != 0 and dense:
            s.registers[(new >> 4) * 2 * _BLOCK + (entry >> 6)] = entry & 63
        elif entry != 0:
            s.entries[_sparse_slot(s, new, np.int64(entry >> 6))] = entry
    drop_sketch(s, cell)
    s.links[cell, SKETCH] = new
    return new


@kernel
def add_actor(s: State, cell: Int, h: Hash, registers: Int) -> bool:
    """Count an actor in a cell; False when the sketch is as before."""
    register = np.int64(h) & (registers - 1)
    rank = rank_of(h)
    handle: Int = np.int64(s.links[cell, SKETCH])
    if handle == 0:
        handle = _take_blocks(s, 0)
        s.links[cell, SKETCH] = handle
        s.links[cell, SKETCH_USED] = 0
    kind = handle & 15
    if kind >= DENSE_SMALL:
        at = (handle >> 4) * 2 * _BLOCK + register
        if s.registers[at] >= rank:
            return False
        s.registers[at] = rank
        return True
    place = _sparse_slot(s, handle, register)
    entry = s.entries[place]
    if entry != 0:
        if (entry & 63) >= rank:
            return False
        s.entries[place] = (register << 6) | rank
        return True
    s.entries[place] = (register << 6) | rank
    s.links[cell, SKETCH_USED] += 1
    if s.links[cell, SKETCH_USED] * 4 >= (8 << kind) * 3:
        _enlarge(s, cell, registers)
    return True


@kernel
def merge_into(s: State, cell: Int, target: NDArray[np.uint8]) -> None:
    """Raise the registers of `target` to those of the cell's sketch; as long as the sketch's number of registers."""
    handle = np.int64(s.links[cell, SKETCH])
    if handle == 0:
        return
    kind = handle & 15
    if kind >= DENSE_SMALL:
        base = (handle >> 4) * 2 * _BLOCK
        for register in range(len(target)):
            if s.registers[base + register] > target[register]:
                target[register] = s.registers[base + register]
        return
    base = (handle >> 4) * _BLOCK
    for at in range(base, base + (8 << kind)):
        entry = s.entries[at]
        if (entry & 63) > target[entry >> 6]:
            target[entry >> 6] = entry & 63


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


@kernel
def _sigma(x: float) -> float:
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


@kernel
def distinct(registers: NDArray[np.uint8]) -> Int:
    """Estimated number of distinct actors behind some registers."""
    m = len(registers)
    count = np.zeros(RANK_BITS + 2, np.int64)
    for register in range(m):
        count[registers[register]] += 1
    if count[0] == m:
        return 0
    z = m * _tau(1.0 - count[RANK_BITS + 1] / m)
    for rank in range(RANK_BITS, 0, -1):
        z = 0.5 * (z + count[rank])
    z += m * _sigma(count[0] / m)
    return np.int64(round(_ALPHA * m * m / z))
