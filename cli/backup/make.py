"""Making a backup while everything runs. The order is what makes it consistent:

what is behind the log comes first, the log last. Offsets of groups before the tables that were written up to them;
tables, snapshots and serving state before the log, which then reaches further than any of them; the control database
at a moment when nothing of it is on its way to the log. What came into the log meanwhile is done again after a
restore, which is harmless by key.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.backup.engine import running
from cli.backup.manifest import FORMAT, BackupError, File, Manifest, file_of, pieces, write_manifest
from cli.backup.recovery import copy_database, copy_store
from cli.backup.tables import export
from cli.settings import Settings
from penstock import __version__
from schemas.topics import CONTROL

if TYPE_CHECKING:
    from ingest.local_log import LocalLog
    from schemas.log import Log

# Small files of the data folder that a restored instance needs.
KEPT_FILES: Final = ("openrtb.secret", "clickhouse.password")
_CONTROL_TRIES: Final = 50
_META: Final = "meta.json"


def back_up(settings: Settings, log: Log, target: Path, say: Callable[[str], None]) -> Manifest:
    """Write a backup into `target`, which must not be there or be empty; its manifest. Raises BackupError, OSError."""
    from ingest.local_log import LocalLog

    _begin(target)
    own_log = log if isinstance(log, LocalLog) else None
    if own_log is not None and settings.data_dir / "log" in (target, *target.parents):
        raise BackupError("the backup cannot be inside the log")
    if own_log is not None and own_log.groups():
        shutil.copytree(own_log.root / ".groups", target / "log" / ".groups")
    tables = _tables(settings, target, say)
    for store in sorted(settings.data_dir.glob("recovery*")):
        if store.is_dir() and (store / "settings.json").exists():
            copy_store(store, target / store.name)
            say(f"{store.name}: the flow's snapshots")
    for name in KEPT_FILES:
        if (settings.data_dir / name).exists():
            _copy(settings.data_dir / name, target / name)
    ends = _log_and_control(settings, own_log, target)
    manifest = Manifest(
        format=FORMAT,
        penstock=__version__,
        made_ms=time.time_ns() // 1_000_000,
        log_identity="" if own_log is None else own_log.identity(),
        partitions=settings.partitions,
        ends=ends,
        tables=tables,
        files=_files(target),
        left_out=_left_out(settings),
    )
    write_manifest(target, manifest)
    return manifest


def _begin(target: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise BackupError(f"{target} is not empty: a backup needs a folder of its own")
    target.chmod(0o700)


def _tables(settings: Settings, target: Path, say: Callable[[str], None]) -> dict[str, int] | None:
    from cli.wiring import clickhouse_url

    if settings.clickhouse or not (settings.data_dir / "clickhouse").is_dir():
        return None
    folder = target / "clickhouse"
    folder.mkdir(mode=0o700)
    with running(clickhouse_url(settings), settings.clickhouse_port, settings.data_dir) as client:
        rows = export(client, folder)
    say(f"clickhouse: {sum(rows.values())} rows of {len(rows)} tables")
    return rows


def _log_and_control(settings: Settings, log: LocalLog | None, target: Path) -> dict[str, int]:
    """The control database and the log at one moment: nothing is written to topic `control` in between."""
    database = settings.data_dir / "control.db"
    has_database = not settings.database and database.exists()
    if log is None:
        if has_database:
            copy_database(database, target / database.name)
        return {}
    for _ in range(_CONTROL_TRIES):
        before = log.end(CONTROL, 0)
        if has_database:
            (target / database.name).unlink(missing_ok=True)
            copy_database(database, target / database.name)
        with log.frozen() as cut:
            ends = {f"{one.topic}/{one.partition}": one.head.end for one in cut}
            if ends[f"{CONTROL}/0"] != before:
                continue
            for partition in cut:
                folder = target / "log" / partition.topic / str(partition.partition)
                folder.mkdir(mode=0o700, parents=True)
                for file in partition.files:
                    _copy(Path(file.link), folder / file.name, file.size_bytes)
                partition.write_head(log.disk, folder)
        _copy(log.root / _META, target / "log" / _META)
        return ends
    raise BackupError("campaigns change without a pause; try again")


def _copy(source: Path, target: Path, size_bytes: int | None = None) -> None:
    target.touch(mode=0o600)
    with target.open("wb") as file:
        for piece in pieces(source, size_bytes):
            file.write(piece)


def _files(target: Path) -> dict[str, File]:
    """Every file with its checksum; folders and files are left to their owner alone."""
    found = {}
    for path in sorted(target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file():
            found[str(path.relative_to(target))] = file_of(path)
    return found


def _left_out(settings: Settings) -> list[str]:
    """What is on servers or outside the data folder, and what backs it up."""
    out = []
    if settings.kafka:
        out.append("the log: it is on Kafka; replicate its topics, or mirror them to another cluster")
    if settings.clickhouse:
        out.append("the tables: they are on a ClickHouse server; use its BACKUP DATABASE")
    if settings.database:
        out.append("the control plane: it is on a database server; use its own tool, such as pg_dump")
    if settings.redis:
        out.append("serving state in Redis: the store builds it anew")
    for name, path in (("credentials", settings.credentials), ("exchange_rates", settings.exchange_rates)):
        if path is not None:
            out.append(f"{path}, which PENSTOCK_{name.upper()} names: copy it yourself")
    out.append("the environment with its PENSTOCK_ variables, and the processes' own logs")
    return out
