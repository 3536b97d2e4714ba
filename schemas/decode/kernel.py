"""The one door to numba: compiled functions that keep their Python types."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

P = ParamSpec("P")
R = TypeVar("R")

_SCHEMAS = Path(__file__).resolve().parents[1]


@cache
def _stamp(folder: Path) -> str:
    """What the compiled code of a folder may depend on: its own sources and those of schemas/."""
    sources = sorted({*_SCHEMAS.rglob("*.py"), *folder.glob("*.py")})
    return hashlib.blake2b(b"\0".join(source.read_bytes() for source in sources), digest_size=16).hexdigest()


class _StampedCache(FunctionCache):  # type: ignore[misc]
    """numba's cache looks only at the file of the outermost function; inlined ones from other files would go stale."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        folder = Path(self._py_func.__code__.co_filename).resolve().parent
        return (*super()._index_key(sig, codegen), _stamp(folder))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled to machine code that runs without the GIL: `numba.njit(cache=True, nogil=True)`.

    Compiled on first call for the types of its arguments, then kept on disk until a source file it may use changes.
    """
    compiled = numba.njit(nogil=True, boundscheck=False)(function)
    compiled._cache = _StampedCache(function)
    return cast("Callable[P, R]", compiled)
