"""Eight bytes at a time: searches within a word, and the hash of events' fields.

Functions take an address and offsets into memory that the caller keeps alive. Loads may read up to LOADED_PAST bytes
past the last byte they use: the caller sees to it that they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from schemas.decode.kernel import inlined
from schemas.decode.memory import load
from schemas.decode.tables import require_secrets

U64 = np.uint64
LOADED_PAST: Final = 16

ONES: Final = U64(0x0101010101010101)
HIGHS: Final = U64(0x8080808080808080)
ALL: Final = U64(0xFFFFFFFFFFFFFFFF)
ZERO: Final = U64(0)

# Odd, about half of the bits set; 0xFF bytes never occur in UTF-8, so that no text cancels a secret to zero.
_SECRET_A: Final = U64(0xFF8BB84B93962EFF)
_SECRET_B: Final = U64(0xFF33AE4B4433D4FF)
_SECRET_C: Final = U64(0xFFC5AA3D8B5A53FF)
# Spreads hashes over tables where nobody gives a number that senders cannot know.
SPREAD: Final = U64(0x9E3779B97F4A7C15)
SEED_EVENT: Final = U64(0xA0761D6478BD642F)
SEED_FIELD: Final = U64(0x8EBC6AF09C88C6E3)
SEED_USER: Final = U64(0x589965CC75374CC3)
SEED_DEVICE: Final = U64(0x1D8E4E27C47D124F)
SEED_ADDRESS: Final = U64(0xEB44ACCAB455D165)
require_secrets(
    [int(_SECRET_A), int(_SECRET_B), int(_SECRET_C)],
    [int(seed) for seed in (SEED_EVENT, SEED_FIELD, SEED_USER, SEED_DEVICE, SEED_ADDRESS)],
)


@intrinsic  # type: ignore[untyped-decorator]
def _lowest_bit(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _fold_product(typing_context: Any, a: Any, b: Any) -> Any:
    """The 128-bit product folded with its factors, so that a zero factor does not swallow the other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        low = builder.trunc(product, word)
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(builder.xor(low, arguments[0]), builder.xor(high, arguments[1]))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _count_bits(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


count_bits = cast("Callable[[np.uint64], int]", _count_bits)
_lowest = cast("Callable[[np.uint64], int]", _lowest_bit)
_folded_product = cast("Callable[[np.uint64, np.uint64], np.uint64]", _fold_product)


@inlined
def signed(word: np.uint64 | np.uint32) -> int:
    """The word's bits as a signed number."""
    return np.int64(word)  # type: ignore[return-value]


@inlined
def place_of(hashed: np.uint64, spread: np.uint64, mask: int) -> int:
    """Where a hash belongs in an open table: spread by a product (Knuth 6.4) with a number that senders cannot know, so
    that texts made up to have equal low bits do not crowd into a few places."""
    return signed((hashed * spread) >> U64(32)) & mask


@inlined
def first_marked(marks: np.uint64) -> int:
    """Which byte of the word has the lowest mark; marks are the high bits of bytes, at least one."""
    return _lowest(marks) >> 3


@inlined
def keep(word: np.uint64, length: int) -> np.uint64:
    """The first `length` bytes of the word (0 to 8), the others 0."""
    if length >= 8:
        return word
    return word & ((U64(1) << U64(8 * length)) - U64(1))


@inlined
def mix(a: np.uint64, b: np.uint64) -> np.uint64:
    """A word that depends on every bit of both."""
    return _folded_product(a ^ _SECRET_A, b ^ _SECRET_B)


@inlined
def hash_text(address: int, start: int, length: int, seed: np.uint64) -> np.uint64:
    """64-bit hash of bytes, never 0. Folded multiplication as in wyhash (https://github.com/wangyi-fudan/wyhash)."""
    state = seed
    at = start
    left = length
    while left > 16:
        state = mix(load(address, at) ^ state, load(address, at + 8))
        at += 16
        left -= 16
    a = keep(load(address, at), left)
    b = keep(load(address, at + 8), left - 8) if left > 8 else ZERO
    value = mix(mix(a ^ state, b), U64(length) ^ state ^ _SECRET_C)
    return value if value != ZERO else _SECRET_C


@inlined
def same_text(one: int, other: int, length: int) -> bool:
    """Whether as many bytes at two addresses are equal."""
    while length > 0:
        if keep(load(one, 0), length) != keep(load(other, 0), length):
            return False
        one += 8
        other += 8
        length -= 8
    return True
