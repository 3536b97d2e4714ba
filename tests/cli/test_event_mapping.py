"""PENSTOCK_EVENT_MAPPING is checked before the api opens anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[segment.events.X]\ntype = 'view'\n", "segment.events.X.type"),
        ("[segment", "is not TOML"),
        (None, "No such file"),
    ],
    ids=["wrong", "no_toml", "absent"],
)
def test_the_api_does_not_start_with_a_mapping_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    file = tmp_path / "mapping.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("PENSTOCK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PENSTOCK_EVENT_MAPPING", str(file))
    result = CliRunner().invoke(app, ["api"])
    assert result.exit_code == 2
    assert "PENSTOCK_EVENT_MAPPING" in result.output
    assert said in result.output
