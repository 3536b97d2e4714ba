"""Passwords and secrets that the data folder keeps are never empty."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.openrtb import kept_secret
from storage.password import FILE_NAME, kept_password


@pytest.mark.parametrize("left", [b"", b"\n", bytes(33)], ids=["empty", "a line end", "zeros of a power loss"])
def test_a_password_lost_with_the_disk_is_made_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(left)
    made = kept_password(tmp_path)
    assert len(made) >= 24
    assert "\0" not in made
    assert kept_password(tmp_path) == made
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [b"", bytes(64)], ids=["empty", "zeros of a power loss"])
def test_a_secret_lost_with_the_disk_is_made_anew(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "openrtb.secret"
    path.write_bytes(left)
    made = kept_secret(path)
    assert len(made.strip(b"\0")) >= 32
    assert kept_secret(path) == made


def test_what_is_kept_stays(tmp_path: Path) -> None:
    assert kept_password(tmp_path) == kept_password(tmp_path)
    assert kept_secret(tmp_path / "s") == kept_secret(tmp_path / "s")
