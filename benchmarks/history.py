"""Figures by commit: `benchmarks/history.ndjson`, one JSON object a line, appended and never changed.

    penstock backtest bidding FILE... --json | python -m benchmarks.history backtest

Fields: `commit` (short hash, `+` behind it when the work tree had changes), `day` (UTC), `machine` (cores and Python),
`benchmark` (the name given), `figures` (the object read; of a backtest only its summary, of rows without one all rows).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).with_name("history.ndjson")


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=HISTORY.parent, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def entry(benchmark: str, figures: Any, *, commit: str, day: str) -> dict[str, Any]:
    """One line of the history."""
    kept = figures.get("summary", figures) if isinstance(figures, dict) else figures
    return {
        "commit": commit,
        "day": day,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "benchmark": benchmark,
        "figures": kept,
    }


def read(path: Path = HISTORY) -> list[dict[str, Any]]:
    """All lines, oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def main() -> None:
    """Append what is read from standard input."""
    parser = argparse.ArgumentParser(description="Append figures to the history")
    parser.add_argument("benchmark", help="Name, such as backtest or pipeline.")
    given = parser.parse_args()
    changed = "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
    commit = (_git("rev-parse", "--short", "HEAD") or "unknown") + changed
    line = entry(given.benchmark, json.load(sys.stdin), commit=commit, day=datetime.now(UTC).date().isoformat())
    with HISTORY.open("a") as history:
        history.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
