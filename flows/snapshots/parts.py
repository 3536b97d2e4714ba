"""The state of a shard taken apart into what a snapshot keeps in different ways, and put together again."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic.kept import KeptRows

# What stands in `rest` in place of an array or of rows: the name of it.
_TABLE: Final = "~table"
_ROWS: Final = "~rows"


class Parts(NamedTuple):
    """Arrays and packed rows by their place in the state ("arrays.camp"), and all that is small, as msgpack."""

    tables: dict[str, NDArray[Any]]
    rows: dict[str, KeptRows]
    rest: bytes


def taken_apart(state: dict[str, Any]) -> Parts:
    """The parts of a state of dicts, lists, numbers, texts, msgspec structs, arrays and `KeptRows`.

    >>> parts = taken_apart({"a": {"b": np.arange(2)}, "c": 1})
    >>> list(parts.tables), put_together(parts)["c"]
    (['a.b'], 1)
    """
    parts = Parts({}, {}, b"")
    rest = _without(state, "", parts)
    return parts._replace(rest=msgspec.msgpack.encode(rest))


def _without(value: Any, name: str, parts: Parts) -> Any:
    if isinstance(value, np.ndarray):
        parts.tables[name] = value
        return {_TABLE: name}
    if isinstance(value, KeptRows):
        parts.rows[name] = value
        return {_ROWS: name}
    if isinstance(value, dict):
        return {key: _without(under, f"{name}.{key}" if name else str(key), parts) for key, under in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_without(under, f"{name}.{place}", parts) for place, under in enumerate(value)]
    return value


def put_together(parts: Parts) -> dict[str, Any]:
    """The state; tuples and structs in it have become lists and dicts."""
    state: dict[str, Any] = _with(msgspec.msgpack.decode(parts.rest, strict=False), parts)
    return state


def _with(value: Any, parts: Parts) -> Any:
    if isinstance(value, dict):
        if _TABLE in value:
            return parts.tables[value[_TABLE]]
        if _ROWS in value:
            return parts.rows[value[_ROWS]]
        return {key: _with(under, parts) for key, under in value.items()}
    if isinstance(value, list):
        return [_with(under, parts) for under in value]
    return value
