"""Newest values of many owners in bounded memory: when it is full, whoever has most goes without its oldest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class FairMap(Generic[V]):
    """Values by owner and key, each owner's in the order of their last `put`.

    >>> newest = FairMap[int](3)
    >>> for number in range(5):
    ...     newest.put("flood", str(number), number)
    >>> newest.put("small", "a", 7)
    >>> list(newest.newest("flood")), list(newest.newest("small"))
    ([4, 3], [7])
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0
        self._owners: dict[str, OrderedDict[str, V]] = {}

    def __len__(self) -> int:
        return self._count

    def get(self, owner: str, key: str) -> V | None:
        """The value, when it is still here."""
        values = self._owners.get(owner)
        return values.get(key) if values is not None else None

    def put(self, owner: str, key: str, value: V) -> None:
        """Keep the value as its owner's newest."""
        values = self._owners.setdefault(owner, OrderedDict())
        if key not in values:
            self._count += 1
        values[key] = value
        values.move_to_end(key)
        if self._count > self._size:
            self._drop_one()

    def newest(self, owner: str) -> Iterator[V]:
        """The owner's values, newest first."""
        return reversed(self._owners.get(owner, OrderedDict()).values())

    def _drop_one(self) -> None:
        owner = max(self._owners, key=lambda name: len(self._owners[name]))
        self._owners[owner].popitem(last=False)
        self._count -= 1
        if not self._owners[owner]:
            del self._owners[owner]
