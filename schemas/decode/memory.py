"""Memory by address, for kernels: an array would be counted each time it is handed on, which costs more than the work.

The caller keeps the memory alive and knows its size; nothing is checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


def _reader(bits: int, result: Any, scale: int, widen: str) -> Any:
    """An intrinsic that reads `bits` at address + scale * place."""

    @intrinsic  # type: ignore[untyped-decorator]
    def read(typing_context: Any, address: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            offset = builder.mul(arguments[1], ir.Constant(ir.IntType(64), scale))
            pointer = builder.inttoptr(builder.add(arguments[0], offset), ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1)
            return value if bits == 64 else getattr(builder, widen)(value, ir.IntType(64))

        return result(types.int64, types.int64), generate

    return read


def _writer(bits: int, given: Any, scale: int) -> Any:
    """An intrinsic that writes the lowest `bits` of a word at address + scale * place."""

    @intrinsic  # type: ignore[untyped-decorator]
    def write(typing_context: Any, address: Any, place: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target = ir.IntType(bits)
            offset = builder.mul(arguments[1], ir.Constant(ir.IntType(64), scale))
            pointer = builder.inttoptr(builder.add(arguments[0], offset), target.as_pointer())
            value = arguments[2] if bits == 64 else builder.trunc(arguments[2], target)
            builder.store(value, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, given), generate

    return write


_Read = Callable[[int, int], int]
_Write = Callable[[int, int, int], None]

# load(address, offset): eight bytes as they lie, the first one lowest.
load = cast("Callable[[int, int], np.uint64]", _reader(64, types.uint64, 1, ""))
# load_byte(address, offset): one byte, 0 to 255.
load_byte = cast("_Read", _reader(8, types.int64, 1, "zext"))
# store(address, offset, word): eight bytes, the lowest first.
store = cast("Callable[[int, int, np.uint64], None]", _writer(64, types.uint64, 1))
# get(address, k), put(address, k, value): element k of an int64 array; the others of arrays of other types.
get = cast("_Read", _reader(64, types.int64, 8, ""))
put = cast("_Write", _writer(64, types.int64, 8))
get32 = cast("_Read", _reader(32, types.int64, 4, "sext"))
put32 = cast("_Write", _writer(32, types.int64, 4))
put8 = cast("_Write", _writer(8, types.int64, 1))
put_word = cast("Callable[[int, int, np.uint64], None]", _writer(64, types.uint64, 8))
get_word = cast("Callable[[int, int], np.uint64]", _reader(64, types.uint64, 8, ""))
# load32(address, offset), store32(address, offset, value): four bytes, signed.
load32 = cast("_Read", _reader(32, types.int64, 1, "sext"))
store32 = cast("_Write", _writer(32, types.int64, 1))
