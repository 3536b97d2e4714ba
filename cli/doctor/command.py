"""The command: every finding in one table."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.doctor.checks import examine
from cli.doctor.verify import FAR_MS, instant_ms, verify
from cli.settings import Settings


def doctor(
    verifies: Annotated[
        bool, typer.Option("--verify", help="Compare the log with ClickHouse, per campaign and day, and repair.")
    ] = False,
    begin: Annotated[str | None, typer.Option("--from", help="With --verify: events from this time on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="With --verify: events before this time.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --verify: print differences, change nothing.")
    ] = False,
) -> None:
    """Check every configured part; exit 1 when something is wrong.

    With --verify: exit 0 when log and ClickHouse say the same, or do so now, 1 when differences are left, 3 when they
    could not be compared. Times are dates (UTC), RFC 3339 or milliseconds.
    """
    if verifies:
        from_ms, to_ms = instant_ms(begin, 0), instant_ms(end, FAR_MS)
        raise typer.Exit(verify(Settings(), from_ms=from_ms, to_ms=to_ms, repairs=not dry_run))
    if begin is not None or end is not None or dry_run:
        raise typer.BadParameter("--from, --to and --dry-run go with --verify")
    from rich.console import Console
    from rich.table import Table

    findings = examine(Settings())
    table = Table(box=None, pad_edge=False)
    for title in ("", "part", "seen", "what to do"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        table.add_row("ok" if finding.ok else "[bold]WRONG[/]", finding.part, finding.seen, finding.mend)
    Console().print(table)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)
