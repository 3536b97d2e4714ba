"""The recovery store beside the log: made once, and only ever continued with the settings it was made with."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bytewax.recovery import init_db_dir

from flows.snapshots.framed import StateDamagedError, sync_folder
from flows.snapshots.versions import MIGRATIONS, VERSION

_SETTINGS: Final = "settings.json"
# What a stage keeps in a snapshot. An older store is gone on with where there are steps from its version; what this
# version writes is of the newest, so an older one refuses the store from then on.
STATE_FORMAT: Final = VERSION


# What stands in a store that was put aside, before the time in ms.
_ASIDE: Final = "before"


class StoreMismatchError(Exception):
    """The store was made with other settings; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What state in the store depends on."""

    shards: int
    partitions: int
    # Which log the state was made from.
    log: str = ""
    state_format: int = STATE_FORMAT


def prepare(folder: Path, settings: StoreSettings, *, process: int, processes: int, shared: bool) -> None:
    """Make the store when it is not there; raises StoreMismatchError when it was made with other settings.

    A store has one file a process of the cluster that made it, and keeps that number. `shared`: the processes use one
    folder, which holds all files; otherwise each machine's folder holds its own process's file.
    """
    finish_exchange(folder)
    if not folder.exists() and _make(folder, settings, process=process, processes=processes, shared=shared):
        return
    made = _settings_in(folder)
    wanted = asdict(settings)
    of = made.get("state_format", 1)
    if of != settings.state_format and of not in MIGRATIONS:
        raise StoreMismatchError(
            f"{folder} was written by another version of Penstock: its state has format {of}, "
            f"which here is {settings.state_format}. Go on with that version, or move the folder away: the flow then "
            "reads the log from its beginning, as far back as it is kept, and takes every decision again, same ids"
        )
    if made.get("log") != settings.log:
        raise StoreMismatchError(
            f"{folder} was made from another log ({made.get('log') or 'unknown'}) than the one here ({settings.log}). "
            "Bring that log back, or run `penstock flow --rewind`: the state is put aside, and the next start makes it "
            "anew from all that this log holds"
        )
    made["state_format"] = settings.state_format
    different = [name for name in wanted if made.get(name) != wanted[name]]
    if different:
        changes = ", ".join(f"{name} {made.get(name)} is now {wanted[name]}" for name in different)
        raise StoreMismatchError(
            f"{folder} was made with other settings: {changes}. Set them back, or run `penstock state reshard --shards "
            f"{settings.shards}`, which keeps all state; or move the folder away: the flow then reads the log from its "
            "beginning and takes every decision again, with the same ids"
        )
    if of != settings.state_format:
        _write_settings(folder, settings, process)


def _settings_in(folder: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads((folder / _SETTINGS).read_text())
    except ValueError:
        raise StateDamagedError(folder / _SETTINGS, "is damaged") from None
    return made


def _write_settings(folder: Path, settings: StoreSettings, process: int) -> None:
    """Whole or not at all, though other processes of the cluster may write the same."""
    half = folder / f"{_SETTINGS}.{process}"
    with half.open("w") as file:
        file.write(json.dumps(asdict(settings)))
        file.flush()
        os.fsync(file.fileno())
    half.replace(folder / _SETTINGS)
    sync_folder(folder)


def put_aside(folder: Path, now_ms: int) -> Path | None:
    """Move a store out of the way and return where it is now; None when there is none.

    The one put aside before goes: there is one at most, so that rewinding again and again does not fill the disk.
    """
    finish_exchange(folder)
    if not folder.exists():
        return None
    return _aside(folder, now_ms)


def _aside(folder: Path, now_ms: int) -> Path:
    for older in folder.parent.glob(f"{folder.name}.{_ASIDE}-*"):
        shutil.rmtree(older)
    aside = folder.with_name(f"{folder.name}.{_ASIDE}-{now_ms}")
    folder.rename(aside)
    return aside


def read_settings(folder: Path) -> StoreSettings | None:
    """What a store was made with; None when there is none."""
    finish_exchange(folder)
    if not (folder / _SETTINGS).exists():
        return None
    made = _settings_in(folder)
    known = StoreSettings(made["shards"], made["partitions"], made.get("log", ""), made.get("state_format", 1))
    if known.state_format != STATE_FORMAT and known.state_format not in MIGRATIONS:
        raise StoreMismatchError(
            f"{folder} was written by another version of Penstock: its state has format {known.state_format}, which "
            f"here is {STATE_FORMAT}. Go on with that version"
        )
    return known


def next_of(folder: Path, *, whole: bool) -> Path:
    """Where the store that takes the place of another one is made; and where it is once it is `whole`."""
    return folder.with_name(f"{folder.name}.next" if whole else f"{folder.name}.half")


def exchange(folder: Path, made: Path, now_ms: int, tell: Callable[[str], None]) -> Path:
    """Let a store that was made beside another one take its place; returns where the other one is now.

    A kill in between leaves no store and a whole next one, which `finish_exchange` puts there.
    """
    whole = next_of(folder, whole=True)
    tell("names the new store whole")
    made.rename(whole)
    sync_folder(folder.parent)
    tell("puts the old store aside")
    aside = _aside(folder, now_ms)
    sync_folder(folder.parent)
    tell("puts the new store in its place")
    whole.rename(folder)
    sync_folder(folder.parent)
    return aside


def finish_exchange(folder: Path) -> None:
    """Put a store that was to take the place of one in there if that one is gone; otherwise nothing came of it."""
    whole = next_of(folder, whole=True)
    if not folder.exists():
        # Another process of the cluster may have been first.
        with suppress(FileNotFoundError):
            whole.rename(folder)
    for left in (whole, next_of(folder, whole=False)):
        shutil.rmtree(left, ignore_errors=True)


def make_empty(folder: Path, settings: StoreSettings, *, parts: int) -> None:
    """A store of so many files without a snapshot; what is there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    init_db_dir(folder, parts)  # type: ignore[no-untyped-call]
    (folder / _SETTINGS).write_text(json.dumps(asdict(settings)))


def _make(folder: Path, settings: StoreSettings, *, process: int, processes: int, shared: bool) -> bool:
    """Made beside its place and moved there whole, so that a kill leaves no half of a store.

    False when another process of the cluster had made it first: all of them find none when a cluster starts for the
    first time, and theirs is as good.
    """
    half = folder.with_name(f"{folder.name}.new-{process}")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    init_db_dir(half, processes)  # type: ignore[no-untyped-call]
    if not shared:
        for file in half.glob("part-*.sqlite3"):
            if file.name != f"part-{process}.sqlite3":
                file.unlink()
    (half / _SETTINGS).write_text(json.dumps(asdict(settings)))
    try:
        half.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(half)
        return False
    return True
