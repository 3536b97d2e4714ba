"""The password of the chDB service's user `default`: made once, kept where its owner alone can read it."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

# Beside the engine's folder and not in it: the service may read its own folder and nothing else, so that a statement
# that reads files cannot read this one.
FILE_NAME: Final = "clickhouse.password"


def kept_password(data_dir: Path) -> str:
    """The password kept in a data folder; made, mode 600, by the first process that asks. Raises OSError."""
    return kept_word(data_dir / FILE_NAME, secrets.token_urlsafe(24))


def kept_word(path: Path, word: str) -> str:
    """What the file keeps; `word`, mode 600, where nothing is kept yet. Never empty. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_empty(path)
    if path.exists():
        return path.read_text().strip()
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(word + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Whole or not there: of several processes that start at once the first one's stays.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()


def _drop_empty(path: Path) -> None:
    """A full disk or a power loss may leave a file without its word, and an empty secret lets everybody in."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists() and not path.read_bytes().strip(b" \t\r\n\0"):
            path.unlink()
    finally:
        os.close(folder)
