"""The flow's snapshots, copied while it writes them: all parts of a store as of one moment."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from cli.backup.manifest import BackupError
from flows.snapshots.files import FOLDER as STATE
from flows.snapshots.id_files import FOLDER as IDS

# Parts of a cluster close an epoch one after the other; a moment between two is soon found.
_TRIES: Final = 100
_PAUSE_S: Final = 0.05
# Beside the store: what its snapshots name.
_FOLDERS: Final = (IDS, STATE)


def copy_store(source: Path, target: Path) -> None:
    """Copy a recovery store. Raises BackupError when its parts do not fit together for long."""
    parts = sorted(source.glob("part-*.sqlite3"))
    target.mkdir(mode=0o700)
    for _ in range(_TRIES):
        with ExitStack() as opened:
            connections = [opened.enter_context(closing(sqlite3.connect(part))) for part in parts]
            # The first read of a transaction fixes what it sees until its end.
            for connection in connections:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM commits").fetchone()
            if not _fits(connections):
                time.sleep(_PAUSE_S)
                continue
            for part, connection in zip(parts, connections, strict=True):
                _copy(connection, target / part.name)
            break
    else:
        raise BackupError(f"the parts of {source} did not fit together; stop the flow for the time of the backup")
    for file in source.glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=f"{source.name}.backup-") as held:
        _hold_files(source, Path(held))
        for file in sorted(path for path in Path(held).rglob("*") if path.is_file()):
            copy = target / file.relative_to(held)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _hold_files(source: Path, held: Path) -> None:
    """Link what snapshots name, in a moment: files that are only appended to, and that go a while after the last
    snapshot names them, which may be sooner than a slow disk has taken the copy of all."""
    for folder in _FOLDERS:
        for file in sorted(path for path in (source / folder).rglob("*") if path.is_file()):
            link = held / file.relative_to(source)
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One that goes just now is named by no snapshot that was copied: those are younger.
            with suppress(FileNotFoundError):
                _link(file, link)


def _link(file: Path, link: Path) -> None:
    try:
        os.link(file, link)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        shutil.copyfile(file, link)


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database as of one moment, while others use it."""
    with closing(sqlite3.connect(source)) as connection:
        _copy(connection, target)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    target.touch(mode=0o600)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
        # One file: the copy needs no journal beside it.
        copy.execute("PRAGMA journal_mode = DELETE")


def _fits(connections: list[sqlite3.Connection]) -> bool:
    """Whether no part has dropped what the epoch to resume at, that of the slowest worker, needs."""
    fronts: dict[int, list[int]] = {}
    for connection in connections:
        for run, frontier in connection.execute("SELECT ex_num, worker_frontier FROM fronts"):
            fronts.setdefault(run, []).append(frontier)
    if not fronts:
        return True
    resume = min(fronts[max(fronts)])
    commits = [row[0] for connection in connections for row in connection.execute("SELECT commit_epoch FROM commits")]
    return all(commit <= resume for commit in commits)
