"""What a machine may lack: skipped with its reason, a failure where CI is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def need(present: bool, reason: str) -> None:
    """Skip the test when something is not there; fail instead where CI is set, so that nothing is skipped unseen."""
    if present:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


def shared_data(relative: str) -> Path:
    """A file or folder of the real data beside the project; skips where it is absent."""
    path = SHARED_FOLDER / relative
    need(path.exists(), f"real data is not at {path}")
    return path
