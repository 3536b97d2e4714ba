"""The ids of one campaign shard as files beside the recovery store: a folder of them for each home partition."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.id_files import FOLDER, IdFiles, Saved
from flows.logic.duplicates import Duplicates, Memory

# By home partition: organisations, and what stands in its files.
SavedIds = dict[int, tuple[list[str], Saved]]


class ShardIds:
    """Saves and loads `Duplicates` of a shard in `<recovery store>/ids/<shard>/<home partition>/`."""

    def __init__(self, recovery_dir: Path, shard: int) -> None:
        self._folder = recovery_dir / FOLDER / str(shard)
        self._files: dict[int, IdFiles] = {}

    def begin(self) -> None:
        """Nothing is remembered: files of a run that was killed before its first snapshot go."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def load(self, saved: SavedIds, duplicates: Duplicates) -> None:
        """Remember what a snapshot names. Raises IdsDamagedError where that is not there any more."""
        for folder in self._folder.glob("*"):
            if folder.name not in {str(home) for home in saved}:
                shutil.rmtree(folder)
        for home, (organisations, files) in saved.items():
            self._files[home], seen = IdFiles.load(
                self._folder / str(home), files, duplicates.ids_max, duplicates.spread
            )
            duplicates.memories[home] = Memory(seen, organisations)

    def save(self, duplicates: Duplicates) -> SavedIds:
        """What a snapshot is to name, durable. Raises OSError where that cannot be written."""
        saved: SavedIds = {}
        for home, memory in duplicates.memories.items():
            if home not in self._files:
                self._files[home] = IdFiles(self._folder / str(home), duplicates.ids_max)
            saved[home] = memory.organisations, self._files[home].save(memory.seen)
        return saved
