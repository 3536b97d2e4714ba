"""Unowned views: arrays without reference counts, for compiled code.

numba counts references of an array wherever it is handed to another function, atomically: 10 ns each, many a row. The
caller of a kernel holds the arrays, so inside nothing needs counting. Measured: 94 ns to 1 ns for a sketch look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import carray, types
from numba.core import cgutils
from numba.core.cgutils import ir
from numba.extending import intrinsic

from flows.logic.windows.layout import Rows, State
from schemas.decode.kernel import kernel

P = ParamSpec("P")
R = TypeVar("R")


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A part of a kernel that is always merged into it: a call would copy a `State`, 84 words, onto the stack."""
    return cast("Callable[P, R]", numba.njit(nogil=True, forceinline=True)(function))


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic  # type: ignore[untyped-decorator]
def _fetch(_typing: Any, address: Any) -> Any:
    """Begin to load a cache line for reading and writing."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        pointer = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(prefetch, [pointer, flag(0), flag(3), flag(1)])
        return _context.get_dummy_value()

    return types.none(types.int64), generate


@inlined
def fetch(address: Any) -> None:
    """Say that the memory at an address is needed a little later."""
    _fetch(address)


@inlined
def prefetch(array: Any, row: Any) -> None:
    """Say that a row of an array is needed a little later: memory is slower than anything else a kernel does."""
    _fetch(array.ctypes.data + row * array.strides[0])


@inlined
def unowned(array: Any) -> Any:
    """The same array without a count of its references."""
    return carray(_pointer(array.ctypes.data), array.shape, array.dtype)


@kernel
def unowned_state(s: State) -> State:
    """The same arrays; valid while the caller holds `s`."""
    return State(
        camp=unowned(s.camp),
        camp_heads=unowned(s.camp_heads),
        series_heads=unowned(s.series_heads),
        series=unowned(s.series),
        counters=unowned(s.counters),
        meta=unowned(s.meta),
        free_windows=unowned(s.free_windows),
        groups=unowned(s.groups),
        recent=unowned(s.recent),
        entries=unowned(s.entries),
        registers=unowned(s.registers),
        header=unowned(s.header),
    )


@kernel
def unowned_rows(r: Rows) -> Rows:
    """The same columns; valid while the caller holds `r`."""
    return Rows(
        slot=unowned(r.slot),
        type=unowned(r.type),
        ts_ms=unowned(r.ts_ms),
        cost=unowned(r.cost),
        revenue=unowned(r.revenue),
        actor=unowned(r.actor),
        position=unowned(r.position),
        late=unowned(r.late),
    )
