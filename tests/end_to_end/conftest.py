"""The embedded stack as a user has it: chDB service, api, flow and store, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.stack import Stack, stack


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests of this folder; each uses campaigns of its own."""
    with stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
