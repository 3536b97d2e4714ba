"""The list of checks; a new topic adds its module and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cli.doctor.address import check_api, check_exposure
from cli.doctor.clickhouse import check_clickhouse
from cli.doctor.control import check_database
from cli.doctor.event_log import check_log
from cli.doctor.finding import Finding
from cli.doctor.machine import check_dashboard, check_data_dir, check_python
from cli.doctor.serving import check_redis
from cli.settings import Settings

Check = Callable[[Settings], Finding]

CHECKS: Final[tuple[Check, ...]] = (
    check_python,
    check_data_dir,
    check_exposure,
    check_dashboard,
    check_log,
    check_clickhouse,
    check_redis,
    check_database,
    check_api,
)


def examine(settings: Settings) -> list[Finding]:
    """All checks, each bounded by a few seconds."""
    return [check(settings) for check in CHECKS]
