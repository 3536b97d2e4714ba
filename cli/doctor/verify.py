"""`penstock doctor --verify`: is everything that the log has in ClickHouse, to the micro?"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from cli.settings import Settings

if TYPE_CHECKING:
    from storage.store.compare import Comparison

# Differences printed; the sums count all.
SHOWN_MAX: Final = 200
EXIT_EQUAL: Final = 0
EXIT_DIFFERENT: Final = 1
EXIT_UNKNOWN: Final = 3
# The last millisecond of the year 9999.
FAR_MS: Final = 253_402_300_799_999


def instant_ms(given: str | None, default: int) -> int:
    """Milliseconds of an instant: a date (UTC), RFC 3339, or milliseconds. Raises typer.BadParameter.

    >>> instant_ms("2026-03-02", 0), instant_ms("2026-03-02T01:00:00+01:00", 0), instant_ms("5", 0), instant_ms(None, 7)
    (1772409600000, 1772409600000, 5, 7)
    """
    if given is None:
        return default
    if given.isascii() and given.isdigit():
        return int(given)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is no time: 2026-03-02, 2026-03-02T09:00:00+01:00 or ms") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def verify(settings: Settings, *, from_ms: int, to_ms: int, repairs: bool) -> int:
    """Compare, print what differs, repair; returns the exit code."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from cli.wiring import clickhouse_url, open_log
    from schemas import topics
    from schemas.live import encode_live
    from schemas.log import LogUnavailableError
    from storage.client import connect
    from storage.store.compare import Comparer
    from storage.store.verify import UnwrittenError
    from storage.words import in_words

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    now_ms = time.time_ns() // 1_000_000
    try:
        log = open_log(settings)
        client = connect(clickhouse_url(settings))
        found = Comparer(
            log,
            client,
            from_ms=from_ms,
            to_ms=to_ms,
            repairs=repairs,
            raw_ttl_days=settings.raw_ttl_days,
            now_ms=now_ms,
        ).run()
        with suppress(LogUnavailableError):
            log.append(topics.LIVE, 0, [encode_live(found.verification(now_ms))])
    except (ClickHouseError, LogUnavailableError, UnwrittenError, OSError, ValueError) as error:
        typer.echo(f"Not compared: {in_words(error)}. Is Penstock up? `penstock doctor` looks at every part.", err=True)
        return EXIT_UNKNOWN
    _show(found, repairs=repairs)
    return EXIT_EQUAL if found.equal else EXIT_DIFFERENT


def _show(found: Comparison, *, repairs: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if found.differences:
        table = Table(box=None, pad_edge=False)
        for title in ("organisation", "campaign", "day from", "what", "expected", "in ClickHouse", ""):
            table.add_column(title, overflow="fold")
        for each in found.differences[:SHOWN_MAX]:
            day = each.day
            since = datetime.fromtimestamp(day.start_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
            sums = (
                f"{s.events:,} events, spend {s.spend_micros / 1e6:,.6f}, revenue {s.revenue_micros / 1e6:,.6f}"
                for s in (each.expected, each.found)
            )
            end = each.note or ("repaired" if each.repaired else "differs")
            table.add_row(day.org_id, day.campaign_id or "(leads)", since, each.what, *sums, end)
        console.print(table)
        if len(found.differences) > SHOWN_MAX:
            console.print(f"and {len(found.differences) - SHOWN_MAX:,} more")
    told = f"{found.events:,} events of {found.days:,} campaign days compared: {found.missing:,} were missing"
    if found.missing:
        told += f", {found.repaired:,} are written again" if repairs else "; without --dry-run they are written again"
    console.print(f"{told}. {'Log and ClickHouse say the same.' if found.equal else 'Differences are left.'}")
