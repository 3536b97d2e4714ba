"""Control databases, made anew for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control.store import ControlStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    """A control store on SQLite in a fresh folder."""
    opened = ControlStore.open("", tmp_path)
    yield opened
    opened.close()
