"""The form of an array in words that msgpack can hold."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr
from numpy.typing import NDArray


class TableForm(msgspec.Struct, array_like=True):
    """Name, type and shape of an array; the type as `numpy.lib.format` describes it."""

    name: str
    type: Any
    shape: list[int]

    @classmethod
    def of(cls, name: str, array: NDArray[Any]) -> TableForm:
        """The form of an array."""
        return cls(name, dtype_to_descr(array.dtype), list(array.shape))

    def dtype(self) -> np.dtype[Any]:
        """Its type."""
        return descr_to_dtype(_tuples(self.type))

    def nbytes(self) -> int:
        """How many bytes it has."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype().itemsize

    def array(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """The array in its bytes."""
        array: NDArray[Any] = raw[: self.nbytes()].view(self.dtype()).reshape(self.shape)
        return array


def _tuples(described: Any) -> Any:
    """A description as numpy made it, with tuples where msgpack has lists."""
    if isinstance(described, str):
        return described
    return [(field[0], _tuples(field[1]), *(tuple(shape) for shape in field[2:])) for field in described]
