"""This machine: Python, the data folder, the built dashboard."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from cli.doctor.finding import Finding
from cli.settings import Settings

# Below this the log would soon refuse events.
DISK_FREE_MIN: Final = 2 * 2**30


def check_python(_: Settings) -> Finding:
    """Bytewax has wheels for Python 3.11 and 3.12."""
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("Python", good, version, "" if good else "make .venv anew with Python 3.11 or 3.12")


def check_data_dir(settings: Settings) -> Finding:
    """The data folder can be written and its disk has room."""
    folder = settings.data_dir.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        probe = existing / ".penstock-write-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("data folder", False, f"{folder}: {error.strerror}", "choose another with PENSTOCK_DATA_DIR")
    free = shutil.disk_usage(existing).free
    seen = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < DISK_FREE_MIN:
        return Finding("data folder", False, seen, "free some disk, or lower PENSTOCK_LOG_RETENTION_BYTES")
    return Finding("data folder", True, seen)


def check_dashboard(_: Settings) -> Finding:
    """The web app is built."""
    page = Path(__file__).resolve().parents[2] / "live_dashboard" / "dist" / "index.html"
    return Finding(
        "dashboard", page.exists(), "built" if page.exists() else "not built", "" if page.exists() else "make dashboard"
    )
