"""What a machine may lack: skipped with its reason, a failure where everything is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set where a skip must not go unseen, as in `.ci/run`: then what is absent fails. A stranger's CI need not have it all.
REQUIRE_ALL = "PENSTOCK_TEST_REQUIRE_ALL"
# The folder of the real data; it may not be given on, so it lies beside the project and not in it.
DATA = "PENSTOCK_TEST_DATA"


def data_folder() -> Path:
    """Where the real data is looked for: at the setting, else beside the project."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get(DATA) or beside)


def need(present: bool, reason: str) -> None:
    """Skip the test when something is not there; fail instead where all is asked for, so that no skip is unseen."""
    if present:
        return
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"{REQUIRE_ALL} is set, and this is absent: {reason}")
    pytest.skip(reason)


def shared_data(relative: str) -> Path:
    """A file or folder of the real data; skips where it is absent."""
    path = data_folder() / relative
    need(path.exists(), f"real data is not at {path}; {DATA} names its folder")
    return path
