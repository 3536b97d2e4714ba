"""`penstock backtest bidding`: the bidder over recorded auctions, in order, blind to the future."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.backtest import Row

app = typer.Typer(help="Decision code over recorded data.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Backtests; one command each."""


@app.command()
def bidding(
    files: Annotated[list[Path], typer.Argument(help="Auction files: `click market_price pCTR` a line, plain or gz.")],
    budget_fraction: Annotated[
        list[float], typer.Option(help="Budget as a share of the file's total market price; may be given repeatedly.")
    ] = [1 / 32],  # noqa: B006 (Typer reads it as the default and never changes it)
    strategy: Annotated[
        list[str], typer.Option(help="max_clicks, linear, pid, fixed or all; may be given repeatedly.")
    ] = ["max_clicks"],  # noqa: B006
    price: Annotated[str, typer.Option(help="What the winner pays: second or first.")] = "second",
    forecast_error: Annotated[
        float, typer.Option(help="Relative error of the number of auctions known up front, such as 0.1 or -0.1.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Budget, spend, clicks, and expected clicks against perfect hindsight, per file.

    Linear and fixed bids are tuned on the other files given; with one file alone they are tuned on itself.
    """
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.backtest import STRATEGIES, backtest, read_auctions

    if price not in ("first", "second"):
        raise typer.BadParameter("price is first or second")
    if any(not 0.0 < fraction <= 1.0 for fraction in budget_fraction):
        raise typer.BadParameter("budget-fraction lies in (0, 1]")
    if not -0.9 <= forecast_error <= 10.0:
        raise typer.BadParameter("forecast-error lies in [-0.9, 10]")
    chosen = list(STRATEGIES) if "all" in strategy else strategy
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json) as progress:
        try:
            markets = [read_auctions(path) for path in files]
            work = progress.add_task("Bidding", total=len(files) * len(chosen) * len(budget_fraction))
            rows = [
                row
                for fraction in budget_fraction
                for name in chosen
                for row in backtest(
                    markets,
                    fraction,
                    name,
                    first_price=price == "first",
                    forecast_error=forecast_error,
                    advance=lambda: progress.advance(work),
                )
            ]
        except (OSError, ValueError) as error:
            console.print(f"[red]{error}[/red]")
            raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps({"rows": [asdict(row) for row in rows], "summary": _summary(rows)}))
        return
    # A pipe has no width of its own; the table needs this much.
    _print(rows, Console(width=None if sys.stdout.isatty() else 160))


def _summary(rows: list[Row]) -> list[dict[str, Any]]:
    """Mean and worst ratio, largest overspend and largest gap of each strategy at each fraction."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.strategy, row.budget_fraction), []).append(row)
    return [
        {
            "strategy": strategy,
            "budget_fraction": fraction,
            "files": len(group),
            "ratio_mean": round(sum(row.ratio for row in group) / len(group), 6),
            "ratio_worst": min(row.ratio for row in group),
            "overspend_micros_max": max(row.overspend_micros for row in group),
            "evenness_points_max": max(row.evenness_points for row in group),
        }
        for (strategy, fraction), group in groups.items()
    ]


def _print(rows: list[Row], console: Console) -> None:
    from rich.table import Table

    table = Table(title="Money in micros; clicks x: expected clicks")
    for head in ("file", "strategy", "fraction", "budget", "spend", "over", "impressions", "clicks"):
        table.add_column(head, justify="left" if head in ("file", "strategy") else "right")
    for head in ("clicks x", "hindsight x", "ratio %", "bound %", "gap points"):
        table.add_column(head, justify="right")
    for row in rows:
        bound = "-" if row.even_bound_ratio is None else f"{100 * row.even_bound_ratio:.1f}"
        table.add_row(
            *(row.file, row.strategy, f"{row.budget_fraction:.4f}", f"{row.budget_micros:,}", f"{row.spend_micros:,}"),
            *(f"{row.overspend_micros:,}", f"{row.impressions:,}", f"{row.clicks:,}", f"{row.expected_clicks:.2f}"),
            *(f"{row.hindsight_expected_clicks:.2f}", f"{100 * row.ratio:.1f}", bound, f"{row.evenness_points:.1f}"),
        )
    console.print(table)
    means = Table(title="By strategy and budget")
    for head in ("strategy", "fraction", "files", "mean %", "worst %", "over micros", "gap points"):
        means.add_column(head, justify="left" if head == "strategy" else "right")
    for s in _summary(rows):
        means.add_row(
            *(s["strategy"], f"{s['budget_fraction']:.4f}", str(s["files"]), f"{100 * s['ratio_mean']:.1f}"),
            *(f"{100 * s['ratio_worst']:.1f}", str(s["overspend_micros_max"]), f"{s['evenness_points_max']:.1f}"),
        )
    console.print(means)
