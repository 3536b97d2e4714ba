"""Texts as codes: each distinct one once, so that Python makes a string a text and none a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns.series_slots import copy_text
from flows.logic.windows.layout import Int
from schemas.batch import TEXT_PADDING
from schemas.decode.kernel import kernel
from schemas.decode.memory import store
from schemas.decode.words import SEED_FIELD, U64, hash_text, same_text, signed


@kernel
def _code(
    text: Int,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    table: NDArray[np.int32],
    codes: NDArray[np.int32],
    first: NDArray[np.int64],
) -> Int:
    """Fill the code of each place, and by code the first place that has it; returns how many codes there are."""
    mask = table.shape[0] - 1
    count = 0
    for at in range(starts.shape[0]):
        length = lengths[at]
        slot = signed(hash_text(text, starts[at], length, SEED_FIELD)) & mask
        while table[slot] >= 0:
            known = first[table[slot]]
            if lengths[known] == length and same_text(text + starts[known], text + starts[at], length):
                break
            slot = (slot + 1) & mask
        if table[slot] < 0:
            table[slot] = count
            first[count] = at
            count += 1
        codes[at] = table[slot]
    return count


@kernel
def _lay_out(
    text: Int, starts: NDArray[np.int64], lengths: NDArray[np.int64], first: NDArray[np.int64], out: Int
) -> None:
    """Copy the text of each of the `first` places to an address, a zero byte between two."""
    for code in range(first.shape[0]):
        length = lengths[first[code]]
        copy_text(text + starts[first[code]], out, length)
        store(out, length, U64(0))
        out += length + 1


def coded(
    text: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts at places of a run, in the order in which they come, and the code of each place's text.

    Bytes behind the run may be loaded.
    """
    places, sizes = np.ascontiguousarray(starts).ravel(), np.ascontiguousarray(lengths).ravel()
    table = np.full(1 << (2 * len(places)).bit_length(), -1, np.int32)
    codes, first = np.empty(len(places), np.int32), np.empty(len(places), np.int64)
    first = first[: _code(text.ctypes.data, places, sizes, table, codes, first)]
    return _strings(text, places, sizes, first), codes.reshape(starts.shape)


def _strings(
    text: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], first: NDArray[np.int64]
) -> list[str]:
    """The texts of the `first` places: decoded at once, a seventh of the time, unless a text has a zero byte."""
    chosen = lengths[first]
    size = int(chosen.sum()) + len(first)
    out = np.empty(size + TEXT_PADDING, np.uint8)
    _lay_out(text.ctypes.data, starts, lengths, first, out.ctypes.data)
    laid_out = out[: max(0, size - 1)].tobytes()
    if laid_out.count(0) == len(first) - 1:
        return laid_out.decode().split("\0")
    begins = starts[first]
    pairs = zip(begins.tolist(), (begins + chosen).tolist(), strict=True)
    return [text[begin:end].tobytes().decode() for begin, end in pairs]
