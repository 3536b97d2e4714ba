"""`penstock simulate`: strategies in a seeded market."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bidding.simulation.scenarios import BIDDINGS, SCENARIOS

if TYPE_CHECKING:
    from bidding.simulation.run import Result

_SCENARIOS = f"One of {', '.join(SCENARIOS)}, or all; may be given repeatedly."
_STRATEGIES = f"One of {', '.join(BIDDINGS)}, or all; may be given repeatedly."


def simulate(
    scenario: Annotated[list[str], typer.Option(help=_SCENARIOS)] = ["steady"],  # noqa: B006
    strategy: Annotated[list[str], typer.Option(help=_STRATEGIES)] = ["target_cpa"],  # noqa: B006
    seed: Annotated[list[int], typer.Option(help="Seed; may be given repeatedly.")] = [1],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Goal missed by how much, value against hindsight, overspend, number of changes."""
    from rich.console import Console
    from rich.progress import Progress

    from bidding.simulation.run import simulate as run

    scenarios = list(SCENARIOS) if "all" in scenario else scenario
    strategies = list(BIDDINGS) if "all" in strategy else strategy
    for given, known in ((scenarios, list(SCENARIOS)), (strategies, list(BIDDINGS))):
        for name in given:
            if name not in known:
                raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}, all")
    results: list[Result] = []
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        work = progress.add_task("Simulating", total=len(scenarios) * len(strategies) * len(seed))
        for s in scenarios:
            for b in strategies:
                for number in seed:
                    results.append(run(SCENARIOS[s], BIDDINGS[b], number))
                    progress.advance(work)
    if as_json:
        typer.echo(json.dumps({"rows": [asdict(result) for result in results]}))
        return
    _print(results)


def _print(results: list[Result]) -> None:
    """A table of the figures that people compare."""
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(title="Money in micros; overspend as a share of all budgets")
    columns = ("scenario", "strategy", "seed", "budget used", "overspend", "value ratio", "goal miss")
    for head in (*columns, "bid changes", "pacing changes", "halted h"):
        table.add_column(head, justify="left" if head in ("scenario", "strategy") else "right")
    for r in (asdict(result) for result in results):
        budget = r["budget_micros"]
        table.add_row(
            *(r["scenario"], r["strategy"], str(r["seed"]), f"{r['spend_micros'] / budget:.1%}"),
            *(f"{r['overspend_micros'] / budget:.3%}", f"{r['value_ratio']:.3f}"),
            "-" if r["goal_miss"] is None else f"{r['goal_miss']:+.1%}",
            *(str(r["bid_changes"]), str(r["pacing_changes"]), f"{r['halted_hours']:.1f}"),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
