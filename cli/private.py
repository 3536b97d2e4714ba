"""The data folder is its owner's: people's names, budgets, events and credentials are in it."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def keep_private(folder: Path) -> None:
    """Make the folder when it is not there, and take from everybody else what an older version let them have.

    A folder whose mode is not ours to change, as of a volume that somebody else mounts, stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (folder, *folder.glob("control.db*")):
        with suppress(PermissionError, FileNotFoundError):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)
