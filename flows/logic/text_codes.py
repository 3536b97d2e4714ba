"""Texts as codes: each distinct one once, so that Python makes a string a text and none a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.logic.layout import Int
from schemas.decode.kernel import kernel
from schemas.decode.words import SEED_FIELD, hash_text, same_text, signed


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


def coded(
    text: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts at places of a run, in the order in which they come, and the code of each place's text.

    Bytes behind the run may be loaded.
    """
    places = starts.ravel()
    table = np.full(1 << (2 * len(places)).bit_length(), -1, np.int32)
    codes, first = np.empty(len(places), np.int32), np.empty(len(places), np.int64)
    count = _code(text.ctypes.data, places, lengths.ravel(), table, codes, first)
    begins = places[first[:count]]
    ends = begins + lengths.ravel()[first[:count]]
    view = memoryview(text)  # type: ignore[arg-type]
    texts = [str(view[begin:end], "utf-8") for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    return texts, codes.reshape(starts.shape)
