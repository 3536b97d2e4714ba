"""A wheel installs beside anybody's packages, and runs: what `pip install penstock` gives a stranger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.wheel.below_penstock import PACKAGES, WheelError, renamed, stage
from penstock import __version__
from tests.cli.test_up_health import Up, ups
from tests.dashboard.conftest import dist
from tests.support.needs import need

__all__ = ["dist", "ups"]

ROOT = Path(__file__).resolve().parents[2]
# The first start compiles kernels.
PATIENCE_S = 600.0
BUILD_WITHIN_S = 300
IMPORTS_ALL = """
import importlib, pkgutil, sys
import penstock
scripts = (".migrations.env", ".migrations.versions")
names = [each.name for each in pkgutil.walk_packages(penstock.__path__, "penstock.")]
names = [name for name in names if name != "penstock.__main__" and not any(part in name for part in scripts)]
for name in names:
    importlib.import_module(name)
top = sorted(name for name in sys.modules if name.split(".")[0] in {packages})
print(len(names), top)
"""


@dataclass(frozen=True)
class Installed:
    """A wheel, and an environment that has nothing else but what Penstock depends on."""

    wheel: Path
    bin: Path

    def run(self, *words: str, folder: Path) -> str:
        command = [str(self.bin / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=folder, env=alone(), capture_output=True, text=True, timeout=BUILD_WITHIN_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def alone() -> dict[str, str]:
    """The environment without settings of Penstock and without folders that Python would look into."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "PYTHON"))}


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    assert dist.is_dir()
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", str(folder)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, timeout=BUILD_WITHIN_S)
    need("No matching distribution" not in done.stderr, f"setuptools cannot be had: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": ""}))
    # What Penstock depends on is here already; its editable finder works where it was installed only.
    site.joinpath("beside.pth").write_text("\n".join(packages_here()))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv" / "bin" / "python")]
    install = ["install", "-q", "--no-deps", "--no-compile", "--disable-pip-version-check", str(wheel)]
    subprocess.run([*pip, *install], check=True, timeout=BUILD_WITHIN_S)
    return Installed(wheel, folder / "venv" / "bin")


def packages_here() -> list[str]:
    """Folders of installed packages of this environment; a checkout that its .pth files name is none."""
    return [entry for entry in sys.path if Path(entry).name == "site-packages"]


def test_imports_of_our_packages_are_renamed_and_nothing_else() -> None:
    source = (
        '"""Says `from api.app import x`."""\n'
        "from __future__ import annotations\nimport json\nfrom typing import TYPE_CHECKING\n"
        "from storage import run_folder\nfrom apis import y\n"
        "if TYPE_CHECKING:\n    from api.app import (\n        create_app,\n    )\n"
        'def f():\n    from flows.logic.step import Step; return Step, "from cli.main import app"\n'
    )
    told = renamed(source, Path("x.py"))
    assert told == (
        source.replace("from storage import", "from penstock.storage import")
        .replace("    from api.app import (", "    from penstock.api.app import (")
        .replace("from flows.logic", "from penstock.flows.logic")
    )


def test_an_import_that_would_bind_another_name_in_a_wheel_is_refused() -> None:
    with pytest.raises(WheelError, match=r"x.py:1: write `from ... import ...` for `import api.app`"):
        renamed("import api.app\n", Path("x.py"))


def test_a_wheel_without_the_dashboard_is_refused_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    with pytest.raises(WheelError, match="make dashboard"):
        stage(tmp_path, tmp_path / "into")


def test_every_package_of_ours_is_in_a_wheel() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "penstock"}
    assert folders <= set(PACKAGES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wheel_has_one_name_at_the_top_and_all_that_runs(installed: Installed, tmp_path: Path) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"penstock", f"penstock-{__version__}.dist-info"}
    wanted = ["live_dashboard/dist/index.html", "storage/migrations/0001_tables.sql", "storage/sql/recompute.sql",
              "control/migrations/env.py", "ingest/formats/defaults.toml", "py.typed"]  # fmt: skip
    assert [name for name in wanted if f"penstock/{name}" not in names] == []
    for command in (["penstock"], ["python", "-m", "penstock"]):
        assert installed.run(*command, "--version", folder=tmp_path) == f"penstock {__version__}\n"
    # Somebody else's module of our folder's name goes its own way, and a `penstock.py` of the folder is not ours.
    (tmp_path / "api.py").write_text("raise AssertionError('somebody else is imported')")
    told = installed.run("python", "-c", IMPORTS_ALL.format(packages=set(PACKAGES)), folder=tmp_path)
    count, top = told.split(maxsplit=1)
    assert int(count) > 300
    assert top.strip() == "[]"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_installed_wheel_runs_everything(
    installed: Installed, ups: Callable[..., Up], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever has modules of such names where he starts it is not in its way.
    for name in ("cli", "api", "penstock"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('somebody else is imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.cli.test_up_health.PATIENCE_S", PATIENCE_S)
    up = ups(tmp_path / "data", program=[str(installed.bin / "penstock")], PENSTOCK_STUCK_SECONDS="120")
    up.until(lambda: up.ready()[0] == 200)
    with urllib.request.urlopen(f"{up.url}/", timeout=20) as page:
        assert b'<div id="root">' in page.read()
    with urllib.request.urlopen(f"{up.url}/openapi.json", timeout=20) as described:
        assert json.load(described)["info"]["version"] == __version__
    campaign = json.dumps({"name": "Shoes", "currency": "EUR", "daily_budget_micros": 1_000_000}).encode()
    put = urllib.request.Request(f"{up.url}/api/v1/campaigns/shoes", campaign, {"Content-Type": "application/json"})
    put.method = "PUT"
    with urllib.request.urlopen(put, timeout=20) as stored:
        assert stored.status in (200, 201)
    up.end()
    assert up.process.returncode == 0
