"""Arrays without reference counts, for compiled code.

numba counts references of an array wherever it is handed to another function, atomically: 10 ns each, many a row. The
caller of a kernel holds the arrays, so inside nothing needs counting. Measured: 94 ns to 1 ns for a sketch look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.core.cgutils import ir
from numba.extending import intrinsic

from flows.logic.layout import Rows, State
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
def soon(array: Any, row: Any) -> None:
    """Say that a row of an array is needed a little later: memory is slower than anything else a kernel does."""
    _fetch(array.ctypes.data + row * array.strides[0])


@kernel
def bare_state(s: State) -> State:
    """The same arrays; valid while the caller holds `s`."""
    return State(
        camp=carray(_pointer(s.camp.ctypes.data), s.camp.shape, np.int64),
        camp_heads=carray(_pointer(s.camp_heads.ctypes.data), s.camp_heads.shape, np.int32),
        series_heads=carray(_pointer(s.series_heads.ctypes.data), s.series_heads.shape, np.int32),
        series=carray(_pointer(s.series.ctypes.data), s.series.shape, np.int32),
        cells=carray(_pointer(s.cells.ctypes.data), s.cells.shape, np.int64),
        links=carray(_pointer(s.links.ctypes.data), s.links.shape, np.int32),
        free_cells=carray(_pointer(s.free_cells.ctypes.data), s.free_cells.shape, np.int32),
        groups=carray(_pointer(s.groups.ctypes.data), s.groups.shape, np.int64),
        recent=carray(_pointer(s.recent.ctypes.data), s.recent.shape, np.int64),
        entries=carray(_pointer(s.entries.ctypes.data), s.entries.shape, np.uint16),
        registers=carray(_pointer(s.registers.ctypes.data), s.registers.shape, np.uint8),
        marks=carray(_pointer(s.marks.ctypes.data), s.marks.shape, np.int64),
    )


@kernel
def bare_rows(r: Rows) -> Rows:
    """The same columns; valid while the caller holds `r`."""
    return Rows(
        slot=carray(_pointer(r.slot.ctypes.data), r.slot.shape, np.int32),
        type=carray(_pointer(r.type.ctypes.data), r.type.shape, np.uint8),
        ts_ms=carray(_pointer(r.ts_ms.ctypes.data), r.ts_ms.shape, np.int64),
        cost=carray(_pointer(r.cost.ctypes.data), r.cost.shape, np.int64),
        revenue=carray(_pointer(r.revenue.ctypes.data), r.revenue.shape, np.int64),
        actor=carray(_pointer(r.actor.ctypes.data), r.actor.shape, np.uint64),
        position=carray(_pointer(r.position.ctypes.data), r.position.shape, np.int64),
        late=carray(_pointer(r.late.ctypes.data), r.late.shape, np.int64),
    )
