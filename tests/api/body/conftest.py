"""Apis with a bidder, so that every route that takes a body is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from api.wiring import OpenRtb
from tests.api.conftest import Apis


@pytest.fixture
def bodies(tmp_path: Path) -> Iterator[Apis]:
    """Starts apis with a bidder and ends them with the test."""
    started = Apis(tmp_path)
    openrtb = OpenRtb(secret=b"s" * 32, base_url="http://127.0.0.1", rates={"USD": 1.0}, draw=lambda: 0.5)
    started.start = partial(started.start, openrtb=openrtb)  # type: ignore[method-assign]
    yield started
    started.end()
