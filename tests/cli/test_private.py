"""What is in the data folder is its owner's."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from typer.testing import CliRunner

from cli.main import app

SHOES = json.dumps({"id": "shoes", "name": "Shoes", "currency": "EUR"})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(folder: Path) -> None:
    runner = CliRunner(env={"PENSTOCK_DATA_DIR": str(folder), "PENSTOCK_PARTITIONS": "1"})
    result = runner.invoke(app, ["campaign", "put", "-"], input=SHOES)
    assert result.exit_code == 0, result.output


def test_a_new_data_folder_and_the_control_database_are_their_owners(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    put(folder)
    assert (mode(folder), mode(folder / "control.db")) == (0o700, 0o600)


def test_those_of_an_older_version_are_tightened_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    put(folder)
    folder.chmod(0o755)
    for file in folder.glob("control.db*"):
        file.chmod(0o644)
    put(folder)
    assert mode(folder) == 0o700
    assert {mode(file) for file in folder.glob("control.db*")} == {0o600}
