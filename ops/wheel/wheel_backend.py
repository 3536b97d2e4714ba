"""Setuptools, but for wheels: those are built from a copy that has our packages below `penstock`.

An editable install and a source distribution have the folders as they are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from below_penstock import WheelError, stage
from setuptools import build_meta

build_editable = build_meta.build_editable
build_sdist = build_meta.build_sdist
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable

Config = Mapping[str, str | list[str] | None] | None


@contextmanager
def _staged() -> Iterator[None]:
    """The working folder is the copy meanwhile."""
    root = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="penstock-wheel-") as folder:
        try:
            stage(root, Path(folder))
        except WheelError as error:
            raise SystemExit(f"penstock: no wheel: {error}") from None
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(root)


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Config = None) -> str:
    """The metadata folder's name."""
    metadata = str(Path(metadata_directory).absolute())
    with _staged():
        return build_meta.prepare_metadata_for_build_wheel(metadata, config_settings)


def build_wheel(wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None) -> str:
    """The wheel's file name."""
    wheels = str(Path(wheel_directory).absolute())
    metadata = str(Path(metadata_directory).absolute()) if metadata_directory is not None else None
    with _staged():
        return build_meta.build_wheel(wheels, config_settings, metadata)
