"""Which pages of an array have changed since the last snapshot, told by a hash of each page.

A page is known by 64 bits of a keyed hash: one that changed and kept its hash would be missed, once in 2^64 pages,
with a key that no sender knows. Nothing is marked where state is written, so no writer can forget to; reading all of it
takes about 0.1 ms a MiB.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.decode.kernel import kernel

PAGE_BYTES: Final = 512
_WORDS: Final = PAGE_BYTES // 8
_LANES: Final = 4
_A: Final = np.uint64(0x9E3779B97F4A7C15)
_B: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)
_LEFT: Final = np.uint64(29)
_RIGHT: Final = np.uint64(64 - 29)

Words = NDArray[np.uint64]


@kernel
def hash_pages(words: Words, key: np.uint64, out: Words) -> None:
    """The hash of each page into `out`; `words` are whole pages, one behind the other."""
    for page in range(out.shape[0]):
        begin = page * _WORDS
        a, b, c, d = key, key ^ _A, key ^ _B, ~key
        for at in range(begin, begin + _WORDS, _LANES):
            a = (a ^ words[at]) * _A
            b = (b ^ words[at + 1]) * _A
            c = (c ^ words[at + 2]) * _A
            d = (d ^ words[at + 3]) * _A
            a = (a << _LEFT) | (a >> _RIGHT)
            b = (b << _LEFT) | (b >> _RIGHT)
            c = (c << _LEFT) | (c >> _RIGHT)
            d = (d << _LEFT) | (d >> _RIGHT)
        h = (a ^ (b * _B)) * _A
        h = (h ^ (h >> _HALF) ^ c) * _B
        h = (h ^ (h >> _HALF) ^ d) * _A
        out[page] = h ^ (h >> _HALF)


def bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of an array, where they are."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def pages_of(raw: NDArray[np.uint8], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some pages of an array's bytes, [page, byte]; the last one is filled up with zeros."""
    whole = len(raw) // PAGE_BYTES
    found = np.zeros((len(numbers), PAGE_BYTES), np.uint8)
    inside = numbers < whole
    found[inside] = raw[: whole * PAGE_BYTES].reshape(-1, PAGE_BYTES)[numbers[inside]]
    if not inside.all():
        found[~inside, : len(raw) - whole * PAGE_BYTES] = raw[whole * PAGE_BYTES :]
    return found


def page_hashes(raw: NDArray[np.uint8], key: np.uint64) -> Words:
    """The hash of each page of an array's bytes."""
    whole = len(raw) // PAGE_BYTES
    hashes = np.empty(-(-len(raw) // PAGE_BYTES), np.uint64)
    hash_pages(raw[: whole * PAGE_BYTES].view(np.uint64), key, hashes[:whole])
    if whole < len(hashes):
        hash_pages(pages_of(raw, np.array([whole])).reshape(-1).view(np.uint64), key, hashes[whole:])
    return hashes
