"""Running the programs of this folder in their own languages; what they need is kept beside other build results."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.needs import need

# Compilers and package managers that work for minutes the first time: not for `make test`.
TAKES_MINUTES = pytest.mark.skipif(
    "PENSTOCK_TEST_CLIENTS" not in os.environ, reason="`make clients` runs the clients that take minutes to build"
)
HERE = Path(__file__).parent
_CACHE = HERE.parents[1] / ".make" / "clients"
_RUN_S = 240
# A compiler's work on a busy machine.
_BUILD_S = 900


def _run(
    command: list[str], folder: Path, within_s: float = _RUN_S, told: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=within_s,
        env=os.environ | (told or {}),
        check=False,
    )


@contextmanager
def _kept(language: str) -> Iterator[Path]:
    """The folder of what was built from the sources as they are now; one process builds at a time."""
    sources = sorted(path for path in (HERE / language).iterdir() if path.is_file())
    named = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = _CACHE / f"{language}-{named}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _built(language: str, folder: Path, *commands: list[str]) -> None:
    if (folder / "built").exists():
        return
    for path in (HERE / language).iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    for command in commands:
        done = _run(command, folder, _BUILD_S)
        need(done.returncode == 0, f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-800:]}")
    (folder / "built").touch()


def _tool(name: str) -> None:
    need(shutil.which(name) is not None, f"{name} is not installed")


def _answers(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)


def java(*arguments: str) -> dict[str, str]:
    """The answers of java/Ask.java by the names of its checks."""
    for tool in ("java", "javac", "mvn"):
        _tool(tool)
    with _kept("java") as folder:
        resolve = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
        _built("java", folder, resolve, ["javac", "-cp", "jars/*", "Ask.java"])
    flags = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]
    return _answers(_run(["java", *flags, "-cp", "jars/*:.", "Ask", *arguments], folder))


def node(*arguments: str) -> dict[str, str]:
    """The answers of node/ask.mjs."""
    for tool in ("node", "npm"):
        _tool(tool)
    with _kept("node") as folder:
        _built("node", folder, ["npm", "ci", "--no-audit", "--no-fund"])
    return _answers(_run(["node", "ask.mjs", *arguments], folder))


def go(*arguments: str) -> dict[str, str]:
    """The answers of go/main.go."""
    _tool("go")
    with _kept("go") as folder:
        _built("go", folder, ["go", "build", "-o", "ask", "."])
    return _answers(_run(["./ask", *arguments], folder))


def dbt(command: str, told: dict[str, str]) -> str:
    """What `dbt command` says in the project of folder dbt, in an environment of its own; `told` fills its profile."""
    with _kept("dbt") as folder:
        installed = [f"{folder}/env/bin/pip", "install", "-q", "-r", "requirements.txt"]
        models = ["sh", "-c", "mkdir -p models && cp *.sql models/"]
        _built("dbt", folder, models, [sys.executable, "-m", "venv", "env"], installed)
        quiet = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "0", "DBT_PROFILES_DIR": str(folder)}
        done = _run([f"{folder}/env/bin/dbt", command], folder, _BUILD_S, quiet | told)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout
