"""What a machine lacks is a named skip, and a failure only where everything is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.needs import DATA, REQUIRE_ALL, shared_data


def test_absent_real_data_is_a_named_skip_even_in_somebodys_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv(REQUIRE_ALL, raising=False)
    monkeypatch.setenv(DATA, str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=DATA):
        shared_data("nab")


def test_absent_real_data_fails_where_all_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_ALL, "1")
    monkeypatch.setenv(DATA, str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="real data"):
        shared_data("nab")
