"""The files of one campaign shard beside the recovery store: its state, and the ids that it remembers."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from flows.logic.campaigns.duplicates import Duplicates, Memory
from flows.snapshots.files import FOLDER as STATE
from flows.snapshots.files import StateFiles
from flows.snapshots.id_files import FOLDER as IDS
from flows.snapshots.id_files import IdFiles, Saved
from flows.snapshots.versions import State, read, write

# By home partition: organisations, and what stands in its files.
SavedIds = dict[int, tuple[list[str], Saved]]
# In the state: what the files of ids hold.
_FILES: Final = "files"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class ShardFiles:
    """Saves and loads a shard in `<recovery store>/state/<shard>/` and `<recovery store>/ids/<shard>/<home>/`."""

    def __init__(self, recovery_dir: Path, shard: int, wait: Callable[[OSError], None] | None = None) -> None:
        """`wait` returns once a full disk may be tried again, told by its error; without it the error is raised."""
        self._state_folder = recovery_dir / STATE / str(shard)
        self._ids_folder = recovery_dir / IDS / str(shard)
        self._wait = wait
        self._state = StateFiles(self._state_folder, secrets.randbits(64))
        self._ids: dict[int, IdFiles] = {}

    @property
    def written(self) -> int:
        """Bytes of state that the last snapshot wrote."""
        return self._state.written

    def begin(self) -> None:
        """Nothing is kept: files of a run that was killed before its first snapshot go."""
        for folder in (self._state_folder, self._ids_folder):
            shutil.rmtree(folder, ignore_errors=True)

    def load(self, packed: bytes, duplicates: Duplicates) -> State:
        """The state in a snapshot's bytes, and what it remembers into `duplicates`.

        Raises StateDamagedError where what the snapshot names is not there any more.
        """
        state = read(packed, self._state)
        self._load_ids(msgspec.convert(state.pop(_FILES, {}), SavedIds), duplicates)
        return state

    def _load_ids(self, saved: SavedIds, duplicates: Duplicates) -> None:
        for folder in self._ids_folder.glob("*"):
            if folder.is_dir() and folder.name not in {str(home) for home in saved}:
                shutil.rmtree(folder)
        for home, (organisations, files) in saved.items():
            folder = self._ids_folder / str(home)
            self._ids[home], seen = IdFiles.load(folder, files, duplicates.ids_max, duplicates.spread)
            duplicates.memories[home] = Memory(seen, organisations)

    def save(self, state: State, duplicates: Duplicates) -> bytes:
        """The bytes of a snapshot; what it names is durable. Raises OSError where that cannot be written."""
        ids = {home: self._save_ids(home, memory, duplicates.ids_max) for home, memory in duplicates.memories.items()}
        return self._patiently(lambda: write(state | {_FILES: ids}, self._state))

    def _save_ids(self, home: int, memory: Memory, ids_max: int) -> tuple[list[str], Saved]:
        if home not in self._ids:
            self._ids[home] = IdFiles(self._ids_folder / str(home), ids_max)
        return memory.organisations, self._patiently(lambda: self._ids[home].save(memory.seen))

    def _patiently(self, save: Callable[[], T]) -> T:
        """Save, again and again while the disk is full."""
        while True:
            try:
                return save()
            except OSError as error:
                if self._wait is None or error.errno not in _FULL:
                    raise
                self._wait(error)
