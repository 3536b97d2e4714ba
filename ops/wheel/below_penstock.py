"""Our packages as a wheel has them: below `penstock`, so that nobody else's `api` or `cli` is in their way."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NAME: Final = "penstock"
# Packages that a wheel holds; `anomaly` and `alerts` come as soon as they are there.
PACKAGES: Final = (
    "schemas", "bidding", "anomaly", "alerts", "ingest", "storage", "control", "platforms", "flows", "api", "cli",
    "benchmarks",
)  # fmt: skip
# What the build reads beside them.
FILES: Final = ("pyproject.toml", "README.md", "LICENSE")
DASHBOARD: Final = Path("live_dashboard") / "dist"


class WheelError(Exception):
    """Why no wheel can be made, with the mend."""


def stage(root: Path, into: Path) -> None:
    """Copy what a wheel holds from the project at `root` to the empty folder `into`. Raises WheelError."""
    if not (root / DASHBOARD / "index.html").is_file():
        raise WheelError(f"{DASHBOARD} is not built and belongs into a wheel: run `make dashboard` first")
    for name in FILES:
        shutil.copy2(root / name, into / name)
    shutil.copytree(root / NAME, into / NAME, ignore=_ignored)
    for name in PACKAGES:
        if (root / name).is_dir():
            shutil.copytree(root / name, into / NAME / name, ignore=_ignored)
    for path in sorted((into / NAME).rglob("*.py")):
        path.write_text(renamed(path.read_text("utf-8"), path.relative_to(into)), "utf-8")
    shutil.copytree(root / DASHBOARD, into / NAME / DASHBOARD)


def renamed(source: str, where: Path) -> str:
    """The source with our packages imported from below `penstock`; every other character stays where it was.

    >>> renamed("from api.app import create_app\\nimport json", Path("x.py"))
    'from penstock.api.app import create_app\\nimport json'
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source, str(where))):
        if isinstance(node, ast.Import):
            _refuse(node, where)
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_ours(node.module or ""):
            line, at = lines[node.lineno - 1].encode(), node.col_offset
            before, after = line[:at].decode(), line[at:].decode()
            lines[node.lineno - 1] = before + after.replace(f"from {node.module}", f"from {NAME}.{node.module}", 1)
    return "".join(lines)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in PACKAGES


def _refuse(node: ast.Import, where: Path) -> None:
    """`import api.app` binds the name `api`, which is another one in a wheel."""
    if wrong := [alias.name for alias in node.names if _is_ours(alias.name)]:
        raise WheelError(f"{where}:{node.lineno}: write `from ... import ...` for `import {wrong[0]}`")


def _ignored(_: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == "__pycache__" or name.endswith((".pyc", ".nbi", ".nbc"))]
