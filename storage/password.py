"""The password of the chDB service's user `default`: made once, kept where its owner alone can read it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

# Beside the engine's folder and not in it: the service may read its own folder and nothing else, so that a statement
# that reads files cannot read this one.
FILE_NAME: Final = "clickhouse.password"


def kept_password(data_dir: Path) -> str:
    """The password kept in a data folder; made, mode 600, by the first process that asks. Raises OSError."""
    path = data_dir / FILE_NAME
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
    draft = data_dir / f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Whole or not there: of several processes that start at once the first one's stays.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()
