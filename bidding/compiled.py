"""Numba's compiler with a type that mypy can follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """The function in machine code, kept on disk between runs. IEEE order of operations, so that a replay is exact."""
    return cast(_Function, njit(cache=True)(function))
