"""The state that a recovery store begins with, where it was made from another one: until Bytewax has snapshots."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final

import msgspec

from flows.place import Place
from flows.snapshots.framed import StateDamagedError, sync_folder

# Beside the store's settings, and copied with them by a backup.
_NAME: Final = "seed.json"


class Seed(msgspec.Struct, kw_only=True):
    """What Bytewax would hand to partitions and shards, by their numbers."""

    places: dict[int, Place] = {}
    shards: dict[int, bytes] = {}


def read_seed(folder: Path | None) -> Seed:
    """The seed of a store; an empty one where it began with nothing. Raises StateDamagedError."""
    if folder is None or not (folder / _NAME).exists():
        return Seed()
    raw = (folder / _NAME).read_bytes()
    try:
        crc, _, seed = raw.partition(b"\n")
        if int(crc) != zlib.crc32(seed):
            raise ValueError
        return msgspec.json.decode(seed, type=Seed)
    except ValueError:
        raise StateDamagedError(folder / _NAME, "is damaged") from None


def write_seed(folder: Path, seed: Seed) -> None:
    """Durable when this returns."""
    with (folder / _NAME).open("wb") as file:
        encoded = msgspec.json.encode(seed)
        file.write(b"%d\n" % zlib.crc32(encoded) + encoded)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
