"""Running the programs of this folder in their own languages; what they need is kept beside other build results."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import need

HERE = Path(__file__).parent
_CACHE = HERE.parents[1] / ".make" / "clients"
_RUN_S = 240


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_RUN_S,
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
        done = _run(command, folder)
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
