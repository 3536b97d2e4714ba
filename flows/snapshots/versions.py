"""The bytes of a snapshot, and how those of older versions become the state of today.

What Bytewax keeps of a shard is a `_Snapshot`: its version, what is small, and which files hold the rest (or, without a
folder, the rest itself). Whoever changes what `CampaignShard.snapshot` holds raises VERSION, adds a step to MIGRATIONS
and records the new form (`tests/flows/snapshots`, which fail until then).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from flows.logic.campaigns.series_slots import OTHERS_BYTES
from flows.logic.kept import KeptRows
from flows.snapshots.files import SavedState, StateFiles
from flows.snapshots.forms import TableForm
from flows.snapshots.id_files import Part, Saved
from flows.snapshots.parts import Parts, put_together, taken_apart

# Of the state of a shard, as its snapshots and files hold it.
VERSION: Final = 5
_OF_PICKLE: Final = b"\x80\x05"

State = dict[str, Any]


class UnknownVersionError(Exception):
    """A snapshot of a version that there are no steps from."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the state is of version {version}, which this version of Penstock, with {VERSION}, cannot read"
        )


class _Inline(msgspec.Struct, array_like=True):
    form: TableForm
    data: bytes


class _Snapshot(msgspec.Struct, kw_only=True):
    """Either `saved` names files, or `tables` and `rows` are here."""

    version: int
    rest: msgspec.Raw
    saved: SavedState | None = None
    tables: list[_Inline] = []
    rows: dict[str, dict[int, bytes]] = {}


def write(state: State, files: StateFiles | None) -> bytes:
    """The bytes of a snapshot; what is large goes into the files, if any, and is durable when this returns."""
    parts = taken_apart(state)
    rest = msgspec.Raw(parts.rest)
    if files is not None:
        saved = files.save(parts.tables, parts.rows)
        return msgspec.msgpack.encode(_Snapshot(version=VERSION, rest=rest, saved=saved))
    compress = zstandard.ZstdCompressor(level=1).compress
    tables = [_Inline(TableForm.of(name, array), compress(array.tobytes())) for name, array in parts.tables.items()]
    rows = {name: dict(kept) for name, kept in parts.rows.items()}
    return msgspec.msgpack.encode(_Snapshot(version=VERSION, rest=rest, tables=tables, rows=rows))


def read(packed: bytes, files: StateFiles | None) -> State:
    """The state in a snapshot's bytes, in the form of today.

    Raises UnknownVersionError, and StateDamagedError where files that it names are not whole.
    """
    if packed.startswith(_OF_PICKLE):
        return _migrated(_pickled(packed), 4)
    kept = msgspec.msgpack.decode(packed, type=_Snapshot)
    if kept.saved is not None:
        if files is None:
            raise ValueError("the snapshot names files, and there is no folder of them")
        tables, rows = files.load(kept.saved)
    else:
        decompress = zstandard.ZstdDecompressor().decompress
        tables = {some.form.name: some.form.array(_bytes(decompress(some.data))) for some in kept.tables}
        rows = {name: KeptRows(some) for name, some in kept.rows.items()}
    return _migrated(put_together(Parts(tables, rows, bytes(kept.rest))), kept.version)


def _bytes(data: bytes) -> NDArray[np.uint8]:
    """Bytes that may be written to, as an array's should be."""
    return np.frombuffer(bytearray(data), np.uint8)


def _migrated(state: State, version: int) -> State:
    while version != VERSION:
        if version not in MIGRATIONS:
            raise UnknownVersionError(version)
        state = MIGRATIONS[version](state)
        version += 1
    return state


def from_4_to_5(state: State) -> State:
    """Names of campaigns, standings and bidding become rows by slot; texts of series stay where they are.

    In version 4 the texts stood one behind the other in the order of slots, and `start` said nothing.
    """
    registry = dict(state["registry"])
    keys = msgspec.msgpack.decode(registry["campaigns"])
    registry["campaigns"] = KeptRows((n, msgspec.msgpack.encode(key)) for n, key in enumerate(keys) if key is not None)
    registry["campaigns_end"] = len(keys)
    registry["defined"] = np.array(registry["defined"], np.int32)
    rows = registry["series"] = registry["series"].copy()
    named = np.flatnonzero((rows["campaign"] >= 0) & (rows["start"] > 0))
    totals = rows["total"][named].astype(np.int64)
    rows["start"][named] = OTHERS_BYTES + np.cumsum(totals) - totals
    registry["text"] = np.concatenate([np.zeros(OTHERS_BYTES, np.uint8), registry["text"]])
    return state | {
        "registry": registry,
        "standings": KeptRows(state["standings"]),
        "bidding": KeptRows(state["bidding"]),
    }


# By version: the step to the next one.
MIGRATIONS: Final[dict[int, Callable[[State], State]]] = {4: from_4_to_5}


# -- version 4, which was pickled -------------------------------------------------------------------------------------

# Where the classes of a shard's state were, and what a wheel puts before them.
_OURS: Final = ("flows", "schemas", "bidding")
_OF_A_WHEEL: Final = "penstock."
_IDS_THEN: Final = "flows.id_files"
_HERE: Final = (__package__ or "").removesuffix(".snapshots").removesuffix("flows")


class _Unpickler(pickle.Unpickler):
    """Finds our classes by the name that they have here: below `penstock` in a wheel, at the top in a checkout."""

    def find_class(self, module: str, name: str) -> Any:
        bare = module.removeprefix(_OF_A_WHEEL)
        if bare == _IDS_THEN:
            return {"Saved": Saved, "Part": Part}[name]
        ours = bare.partition(".")[0] in _OURS
        return super().find_class(_HERE + bare if ours else module, name)


def _pickled(packed: bytes) -> State:
    """The state in a snapshot of version 4; only ever given what a flow wrote to its own recovery store."""
    head, arrays = pickle.loads(packed)  # noqa: S301
    decompress = zstandard.ZstdDecompressor().decompress
    buffers = [bytearray(decompress(kept) if is_packed else kept) for is_packed, kept in arrays]
    state: State = _Unpickler(io.BytesIO(head), buffers=buffers).load()
    return state


__all__ = ["MIGRATIONS", "VERSION", "State", "UnknownVersionError", "read", "taken_apart", "write"]
