"""`make run` on a machine with a Python that Bytewax has no wheels for: uv provides one, and one line says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "mkdir", "rm", "ln", "cat", "chmod")
# A Python of another version: it answers what the script asks, makes an environment, and its pip brings a uv along.
OTHER = """#!/bin/sh
case "$*" in
  *version_info*) echo {version} ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install "*) echo "$*" >> {asked}; cp {uv} "${{0%python}}uv" ;;
esac
"""
# A uv that notes what it is asked, and has the Python of this test for everybody.
UV = """#!/bin/sh
echo "$UV_PYTHON_INSTALL_DIR $*" >> {asked}
case "$*" in
  *"python install"*) exit {code} ;;
  *"python find"*) echo {python} ;;
esac
"""


class Machine:
    """A PATH of its own with what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.venv = folder / "venv"
        self.asked = folder / "asked"
        for tool in (*TOOLS, "cp"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def has(self, name: str, text: str, **words: object) -> Path:
        path = self.bin / name
        path.write_text(text.format(asked=self.asked, python=sys.executable, **words))
        path.chmod(0o755)
        return path

    def make(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(ROOT / "ops" / "venv.sh"), str(self.venv)], env={"PATH": str(self.bin)} | variables,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def works(machine: Machine) -> bool:
    asked = [str(machine.venv / "bin" / "python"), "-c", "import sys; print(sys.prefix)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == str(machine.venv)


@pytest.mark.parametrize("version", ["3.13.1", "3.14.0"])
def test_where_only_a_newer_python_is_found_uv_from_pypi_provides_one(machine: Machine, version: str) -> None:
    uv = machine.has("uv-of-pypi", UV, code=0)
    machine.has("python3", OTHER, version=version, uv=uv)
    done = machine.make()
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == (
        f"==> no Python 3.11 or 3.12 here (there is {version}): uv from PyPI fetches one into {machine.venv}/.python"
    )
    assert len(said) == 2
    asked = machine.asked.read_text().splitlines()
    assert "uv==" in asked[0]
    assert asked[1] == f"{machine.venv}/.python --no-config python install --no-bin 3.12"
    assert works(machine)


def test_a_uv_of_the_machine_is_enough(machine: Machine) -> None:
    machine.has("uv", UV, code=0)
    assert machine.make().returncode == 0
    assert works(machine)


def test_a_python_that_fits_is_used_and_no_uv(machine: Machine) -> None:
    machine.has("python3", OTHER, version="3.13.1", uv="none")
    machine.has("uv", UV, code=0)
    (machine.bin / "python3.11").symlink_to(sys.executable)
    done = machine.make(HOME=os.environ.get("HOME", "/"))
    assert done.returncode == 0, done.stderr
    assert "uv" not in done.stdout
    assert not machine.asked.exists()


def test_without_any_python_it_is_told_what_to_get(machine: Machine) -> None:
    done = machine.make()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Penstock needs Python 3.11 or 3.12, or any Python 3, or uv, on the PATH: there is none.\n"


def test_a_uv_that_reaches_nothing_is_told_with_the_mend(machine: Machine) -> None:
    machine.has("uv", UV, code=2)
    done = machine.make()
    assert done.returncode == 1
    assert "UV_PYTHON_INSTALL_MIRROR" in done.stderr


def test_an_interpreter_that_is_named_and_does_not_fit_is_refused(machine: Machine) -> None:
    other = machine.has("another", OTHER, version="3.13.1", uv="none")
    done = machine.make(PYTHON=str(other))
    assert done.returncode == 1
    assert "3.13.1" in done.stderr


def test_make_and_the_image_start_by_the_same_script() -> None:
    assert "sh ops/venv.sh .venv" in (ROOT / "Makefile").read_text()
    image = (ROOT / "Dockerfile").read_text()
    assert image.index("RUN sh ops/venv.sh /opt/penstock") < image.index("RUN pip install")
    assert "ENV PATH=/opt/penstock/bin:$PATH" in image
