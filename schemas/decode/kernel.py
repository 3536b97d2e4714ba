"""The one door to numba: compiled functions that keep their Python types."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

P = ParamSpec("P")
R = TypeVar("R")

_HERE = Path(__file__).resolve().parent
# Constants that kernels of this folder take from outside it.
_CONSTANTS = (_HERE.parent / "events.py", _HERE.parent / "batch.py")


@cache
def _stamp(folder: Path) -> str:
    """Digest of what compiled code of a folder may depend on: its own sources, and the kernels here."""
    sources = sorted({*_CONSTANTS, *_HERE.glob("*.py"), *folder.glob("*.py")})
    return hashlib.blake2b(b"\0".join(source.read_bytes() for source in sources), digest_size=8).hexdigest()


class _StampedCache(FunctionCache):  # type: ignore[misc]
    """numba's cache looks only at the file of the outermost function: code inlined from other files would go stale.

    Here files are named by all sources, so that processes of different versions do not read each other's either.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}.{_stamp(Path(function.__code__.co_filename).resolve().parent)}",
            source_stamp=self._impl.locator.get_source_stamp(),
        )


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled to machine code that runs without the GIL: `numba.njit(cache=True, nogil=True)`.

    Compiled on first call for the types of its arguments, then kept on disk until a source file it may use changes.
    """
    compiled = numba.njit(nogil=True)(function)
    compiled._cache = _StampedCache(function)
    return cast("Callable[P, R]", compiled)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A function for kernels to call: becomes part of them and is not kept by itself."""
    return cast("Callable[P, R]", numba.njit(nogil=True)(function))
