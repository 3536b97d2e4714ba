"""What the api folded of decisions, kept in a file: decisions expire with the log, what they decided does not."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from api.serving import MemoryServing
from schemas.log import Log, LogUnavailableError

_log = logging.getLogger(__name__)

# What came since is in the log and is read again.
KEEP_EVERY_S: Final = 10.0


def restore(path: Path, serving: MemoryServing, log: Log) -> None:
    """Begin with what a run before has kept. A file that does not fit the log is left alone and said so."""
    try:
        saved = path.read_bytes()
        fits = serving.restore(saved, log)
    except FileNotFoundError:
        return
    except (OSError, LogUnavailableError) as error:
        _log.warning("the kept serving state is not used: %s", error)
        return
    if not fits:
        _log.warning("%s is of another log than this one: serving state is built anew from the log", path)


def keep(path: Path, saved: bytes) -> None:
    """Replace the file by one that is whole. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(saved)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


async def keep_on(path: Path, serving: MemoryServing, log: Log, stop: asyncio.Event) -> None:
    """Keep what changed every KEEP_EVERY_S until `stop` is set, and then once more."""
    kept = serving.position
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), KEEP_EVERY_S)
        if serving.position != kept:
            try:
                await asyncio.to_thread(keep, path, serving.saved(log.identity()))
                kept = serving.position
            except (OSError, LogUnavailableError) as error:
                _log.warning("serving state is not kept, trying again: %s", error)
        if stop.is_set():
            return
