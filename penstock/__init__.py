"""Penstock: real-time streaming and decisioning for advertising. A wheel holds all its packages below this one."""

from __future__ import annotations

from typing import Final

# The one place that says it: package metadata, `penstock --version`, the api and the manifests of backups read it.
__version__: Final = "0.1.0"
