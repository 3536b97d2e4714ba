"""The state that a recovery store begins with, where it was made from another one: until Bytewax has snapshots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from flows.place import Place
from flows.snapshots.framed import sync_folder

# Beside the store's settings, and copied with them by a backup.
_NAME: Final = "seed.json"


class Seed(msgspec.Struct, kw_only=True):
    """What Bytewax would hand to partitions and shards, by their numbers."""

    places: dict[int, Place] = {}
    shards: dict[int, bytes] = {}


def read_seed(folder: Path | None) -> Seed:
    """The seed of a store; an empty one where it began with nothing."""
    if folder is None or not (folder / _NAME).exists():
        return Seed()
    return msgspec.json.decode((folder / _NAME).read_bytes(), type=Seed)


def write_seed(folder: Path, seed: Seed) -> None:
    """Durable when this returns."""
    with (folder / _NAME).open("wb") as file:
        file.write(msgspec.json.encode(seed))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
