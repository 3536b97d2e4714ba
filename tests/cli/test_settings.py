"""Settings from the environment."""

from __future__ import annotations

import pytest
import typer

from cli.settings import Settings


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files write it: `PENSTOCK_EVENTS_PER_SECOND: ${EVENTS_PER_SECOND}`."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"PENSTOCK_{name.upper()}", "")
    assert Settings() == Settings.model_construct()


def test_a_variable_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_EVENTS_PER_SECOND", "many")
    with pytest.raises(typer.BadParameter, match="PENSTOCK_EVENTS_PER_SECOND"):
        Settings()
