"""The command: every finding in one table."""

from __future__ import annotations

import typer

from cli.doctor.checks import examine
from cli.settings import Settings


def doctor() -> None:
    """Check every configured part; exit 1 when something is wrong."""
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
