"""The list of checks; a new topic adds its module and one entry here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from cli.doctor.address import check_api, check_exposure
from cli.doctor.clickhouse import check_clickhouse, check_wall
from cli.doctor.control import check_database
from cli.doctor.event_log import check_log
from cli.doctor.finding import Finding, first_line
from cli.doctor.machine import check_dashboard, check_data_dir, check_python
from cli.doctor.processes import check_processes
from cli.doctor.reach import check_reach, check_recovery
from cli.doctor.serving import check_redis
from cli.settings import Settings

# One finding, or one a thing that is there.
Check = Callable[[Settings], Finding | list[Finding]]

# A part that hangs must not keep the others from being told.
CHECK_S_MAX: Final = 20.0

# By the name that a check has in the table when it fails itself.
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("Python", check_python),
    ("data folder", check_data_dir),
    ("address", check_exposure),
    ("dashboard", check_dashboard),
    ("event log", check_log),
    ("log's reach", check_reach),
    ("recovery store", check_recovery),
    ("ClickHouse", check_clickhouse),
    ("chDB's wall", check_wall),
    ("serving state", check_redis),
    ("control plane", check_database),
    ("api", check_api),
    ("processes", check_processes),
)


def examine(settings: Settings, checks: Sequence[tuple[str, Check]] = CHECKS) -> list[Finding]:
    """All checks; each is bounded in time, and none raises."""
    return [finding for part, check in checks for finding in bounded(part, check, settings)]


def bounded(part: str, check: Check, settings: Settings, seconds: float = CHECK_S_MAX) -> list[Finding]:
    """What the check found; a finding of its own when it does not end in time or fails itself."""
    found: list[Finding] = []

    def run() -> None:
        try:
            said = check(settings)
        except Exception as error:
            seen = f"the check itself failed: {first_line(error)} ({type(error).__name__})"
            said = Finding(part, False, seen, "look at the settings of this part; else this is a defect: report it")
        found.extend(said if isinstance(said, list) else [said])

    thread = threading.Thread(target=run, name=f"doctor-{part}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return [Finding(part, False, f"no answer within {seconds:g} s", "it hangs: start this part again, or its host")]
    return found
