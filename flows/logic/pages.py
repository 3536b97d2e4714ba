"""Which pages of an array have changed since the last snapshot, told by a hash of each page.

A page is known by 64 bits of a keyed hash: the sum of folded products of its words, each with a number of its own place
that is drawn for each process (as NH of Black et al., "UMAC", CRYPTO 1999, with products folded as in wyhash). Of pages
that changed one in about 2^63 is missed, and nobody can know which. Nothing is marked where state is written, so no
writer can forget to; reading all of it takes about 0.1 ms a MiB.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.decode.kernel import kernel
from schemas.decode.words import mix

PAGE_BYTES: Final = 512
_WORDS: Final = PAGE_BYTES // 8

Words = NDArray[np.uint64]


def page_keys(key: int) -> Words:
    """The numbers of a page's places, from one of 64 bits."""
    return np.random.PCG64(key).random_raw(_WORDS)


@kernel
def hash_pages(words: Words, keys: Words, out: Words) -> None:
    """The hash of each page into `out`; `words` are whole pages, one behind the other."""
    for page in range(out.shape[0]):
        begin = page * _WORDS
        total = np.uint64(0)
        for at in range(0, _WORDS, 2):
            total += mix(words[begin + at] ^ keys[at], words[begin + at + 1] ^ keys[at + 1])
        out[page] = total


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


def page_hashes(raw: NDArray[np.uint8], keys: Words) -> Words:
    """The hash of each page of an array's bytes."""
    whole = len(raw) // PAGE_BYTES
    hashes = np.empty(-(-len(raw) // PAGE_BYTES), np.uint64)
    hash_pages(raw[: whole * PAGE_BYTES].view(np.uint64), keys, hashes[:whole])
    if whole < len(hashes):
        hash_pages(pages_of(raw, np.array([whole])).reshape(-1).view(np.uint64), keys, hashes[whole:])
    return hashes
