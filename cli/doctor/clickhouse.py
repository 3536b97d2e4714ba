"""ClickHouse, or the chDB service."""

from __future__ import annotations

from cli.doctor.finding import TIMEOUT_S, Finding, first_line, without_password
from cli.settings import Settings


def check_clickhouse(settings: Settings) -> Finding:
    """ClickHouse, or the chDB service, answers."""
    import logging

    from cli.wiring import clickhouse_url
    from storage.client import connect

    # What it would log is in the finding.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    url = settings.clickhouse
    try:
        url = clickhouse_url(settings)
        version = connect(url, timeout_s=TIMEOUT_S).query("SELECT version()").result_rows[0][0]
    except Exception as error:
        mend = "is the server up and the URL right?" if settings.clickhouse else "start it: `penstock up`"
        return Finding("ClickHouse", False, f"{without_password(url) or 'this machine'}: {first_line(error)}", mend)
    return Finding("ClickHouse", True, f"{without_password(url)}, version {version}")


def check_wall(settings: Settings) -> Finding:
    """What keeps a statement of the chDB service from the machine's other files."""
    from storage.service.confinement import NETWORK_SINCE, version

    if settings.clickhouse:
        return Finding("chDB's wall", True, "not needed: ClickHouse is a server")
    abi = version()
    if abi == 0:
        return Finding("chDB's wall", True, "this kernel has no Landlock: only the check of statements holds analysts")
    network = "files and network" if abi >= NETWORK_SINCE else "files, not the network"
    return Finding("chDB's wall", True, f"Landlock ABI {abi}: {network}")
