"""How far back the embedded log reaches, and what the flow's recovery store takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from cli.doctor.finding import Finding
from cli.settings import Settings

# An outage that nobody notices for a day must not cost records.
REACH_MIN_S: Final = 24 * 3_600
# Snapshots hold about 1 GiB at the bounds of the state; old ones are removed as soon as newer ones are whole.
RECOVERY_MAX_BYTES: Final = 8 * 2**30


def check_reach(settings: Settings) -> Finding:
    """How long ClickHouse may be away at the rate of the last hour, before the log drops what is not stored."""
    from cli.wiring import open_log
    from ingest.local_log import LocalLog
    from ingest.local_log.horizon import least_reach

    log = open_log(settings)
    try:
        if not isinstance(log, LocalLog):
            hours = f"{settings.log_retention_hours:g} h when `penstock topics create` made the topics"
            return Finding("log's reach", True, f"Kafka's retention.ms decides; {hours}")
        horizons = log.horizons(time.time_ns() // 1_000_000)
    finally:
        log.close()
    taken = sum(one.disk_bytes for one in horizons)
    reach_s = least_reach(horizons)
    if reach_s is None:
        return Finding("log's reach", True, f"{_bytes(taken)} on disk; nothing was written in the last hour")
    narrow = min((one for one in horizons if one.reach_s is not None), key=lambda one: one.reach_s or 0.0)
    rate = sum(one.disk_bytes_per_s for one in horizons)
    seen = (
        f"{_bytes(taken)} on disk; at {_bytes(rate)}/s compressed ClickHouse may be away for {reach_s / 3_600:.0f} h, "
        f"the narrowest topic is {narrow.topic}"
    )
    if reach_s >= min(REACH_MIN_S, settings.log_retention_hours * 3_600):
        return Finding("log's reach", True, seen)
    kept_h = settings.log_retention_hours
    mend = f"raise PENSTOCK_LOG_RETENTION_BYTES: {kept_h:g} h need {_bytes(rate * kept_h * 3_600)}"
    return Finding("log's reach", False, seen, mend)


def check_recovery(settings: Settings) -> list[Finding]:
    """What the flow's snapshots take on disk; nothing to say where no flow ran."""
    return [_recovery(folder) for folder in sorted(settings.data_dir.glob("recovery*")) if folder.is_dir()]


def _recovery(folder: Path) -> Finding:
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    part = "recovery store" if folder.name == "recovery" else folder.name
    mend = "" if size <= RECOVERY_MAX_BYTES else "stop the flow and run `sqlite3 part-0.sqlite3 VACUUM` there"
    return Finding(part, not mend, f"{_bytes(size)} of snapshots in {folder}", mend)


def _bytes(size: float) -> str:
    """A size as people read it.

    >>> _bytes(1_536), _bytes(20 * 2**30)
    ('1.5 KiB', '20.0 GiB')
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1_024 and len(units) > 1:
        size /= 1_024
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
