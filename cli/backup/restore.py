"""Restoring: everything is verified first, built beside the data folder, and moved there whole."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cli.backup.engine import own_service
from cli.backup.manifest import BackupError, Manifest, read_manifest, verify
from cli.backup.tables import load
from cli.settings import Settings

# Small files that name the log they belong to.
_NAME_THE_LOG: Final = ("log/meta.json", "recovery*/settings.json")


def restore(settings: Settings, source: Path, say: Callable[[str], None]) -> Manifest:
    """Fill the data folder, which must not be there or be empty, from a backup. Raises BackupError, OSError."""
    data_dir = settings.data_dir
    if data_dir.exists() and any(data_dir.iterdir()):
        raise BackupError(f"{data_dir} is not empty: restore into another PENSTOCK_DATA_DIR, or move it away first")
    manifest = read_manifest(source)
    _must_fit(settings, manifest)
    verify(source, manifest)
    say(f"{len(manifest.files)} files verified")
    building = data_dir.with_name(f"{data_dir.name}.restoring")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700, parents=True)
    for name in manifest.files:
        if not name.startswith("clickhouse/"):
            target = building / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
            target.chmod(0o600)
    if manifest.log_identity:
        _name_anew(building, manifest.log_identity)
    if manifest.tables is not None:
        with own_service(building, password=settings.clickhouse_password, prepared=True) as client:
            load(client, source / "clickhouse", manifest.tables)
        say(f"{sum(manifest.tables.values())} rows of {len(manifest.tables)} tables are in ClickHouse again")
    shutil.rmtree(building / "run", ignore_errors=True)
    if data_dir.exists():
        data_dir.rmdir()
    building.rename(data_dir)
    return manifest


def _must_fit(settings: Settings, manifest: Manifest) -> None:
    if manifest.log_identity and settings.kafka:
        raise BackupError("the backup holds a local log, and PENSTOCK_KAFKA is set: unset it for the restored instance")
    if manifest.tables is not None and settings.clickhouse:
        raise BackupError(
            "the backup holds chDB's tables, and PENSTOCK_CLICKHOUSE is set: unset it for the restored instance"
        )
    if manifest.log_identity and manifest.partitions != settings.partitions:
        raise BackupError(
            f"the backup was made with {manifest.partitions} partitions: set PENSTOCK_PARTITIONS={manifest.partitions}"
        )


def _name_anew(building: Path, identity: str) -> None:
    """From here on it is another log than the one it was copied from: what that one wrote later never was in this one.

    So serving state in Redis is built anew. What was copied with the log goes on with it.
    """
    fresh = uuid.uuid4().hex
    for pattern in _NAME_THE_LOG:
        for path in building.glob(pattern):
            content = path.read_text()
            if json.dumps(identity) in content:
                path.write_text(content.replace(json.dumps(identity), json.dumps(fresh)))
