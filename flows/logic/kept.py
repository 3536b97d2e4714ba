"""What a snapshot of a shard's state is made of, beside arrays and plain numbers and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class KeptRows(dict[int, bytes]):
    """Packed rows by slot, of those slots that have one: a snapshot takes only those that changed."""


def fitted(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array with columns of another type by their names: what it lacks is 0, what it has too many is dropped.

    >>> fitted(np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), np.dtype([("b", "i8"), ("c", "i8")])).tolist()
    [(2, 0)]
    """
    if array.dtype == dtype:
        # Equal, but made otherwise: compiled code knows only ours.
        return array.view(dtype)
    made = np.zeros(array.shape, dtype)
    for name in set(dtype.names or ()) & set(array.dtype.names or ()):
        made[name] = array[name]
    return made
