"""`<data_dir>/run/<process>.json`: the last report of every process of this machine, for whoever wants to look."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from schemas.live import ProcessStatus

# A report is about 1 KiB; loops and reasons are bounded.
BYTES_MAX: Final = 64 * 1024
PROCESSES_MAX: Final = 300

# What is said of a process that could not say anything itself.
GONE: Final = "ended without a word: killed, or out of memory"

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(ProcessStatus)


def run_folder(data_dir: Path) -> Path:
    """Where the reports are."""
    return data_dir / "run"


def write(folder: Path, status: ProcessStatus) -> None:
    """Replace the process's report as a whole. On a full disk it is written over in place, which needs no room.

    Raises OSError when neither goes.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, record = folder / f"{status.process}.json", _encoder.encode(status)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        _put(beside, record, os.O_CREAT | os.O_TRUNC)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        _put(path, record.ljust(path.stat().st_size), 0)


def _put(path: Path, record: bytes, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags, 0o600)
    try:
        os.write(descriptor, record)
    finally:
        os.close(descriptor)


def read(folder: Path, process: str) -> tuple[ProcessStatus, float] | None:
    """A process's last report and its age in seconds; None when there is none that can be read."""
    return _read(folder / f"{process}.json")


def read_all(folder: Path) -> list[tuple[ProcessStatus, float]]:
    """Every process's last report and its age in seconds, by name."""
    with suppress(OSError):
        paths = sorted(folder.glob("*.json"))[:PROCESSES_MAX]
        return [found for path in paths if (found := _read(path)) is not None]
    return []


def _read(path: Path) -> tuple[ProcessStatus, float] | None:
    with suppress(OSError, msgspec.DecodeError):
        with path.open("rb") as file:
            written_s = os.fstat(file.fileno()).st_mtime
            status = _decoder.decode(file.read(BYTES_MAX))
        return status, max(0.0, time.time() - written_s)
    return None


def is_halted(pid: int) -> bool:
    """The kernel has stopped the process of this machine: SIGSTOP, or a debugger."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "Tt"
    return False


def is_there(pid: int) -> bool:
    """A process of this machine has this id, and is not a dead one that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return True


def as_seen_here(status: ProcessStatus, host: str) -> ProcessStatus:
    """The report, told as ended when it is of this machine and its process has gone without a word."""
    if status.host != host or status.state not in ("starting", "running") or is_there(status.pid):
        return status
    return msgspec.structs.replace(status, state="ended", reason=status.reason or GONE)
