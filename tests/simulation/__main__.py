"""Hunt for broken promises: `python -m tests.simulation --seeds 0-10000 --minutes 10 --jobs 2`."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

from flows.warm import load_kernels
from tests.simulation.history import Finding, hunt, shortened

SEEDS = Path(__file__).with_name("seeds.txt")
# Seeds that one job works through before it reports.
CHUNK = 20


def search(seeds: list[int]) -> list[Finding]:
    """Findings among some seeds, made short."""
    return [shortened(found) for seed in seeds if (found := hunt(seed)) is not None]


def keep(finding: Finding) -> None:
    """Write a seed down among those that every test run takes."""
    with SEEDS.open("a") as file:
        file.write(f"{finding.plan.seed}  # {finding.broken.splitlines()[0][:120]}\n")


def kept_seeds() -> list[int]:
    """Seeds of histories that once broke a promise."""
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines())
    return [int(line) for line in lines if line]


def chunks(seeds: Iterator[int]) -> Iterator[list[int]]:
    while some := list(islice(seeds, CHUNK)):
        yield some


def main() -> int:
    options = _options()
    seeds = iter(options.seeds) if options.seeds else iter(lambda: random.randrange(10**9), -1)
    until_s = time.monotonic() + 60 * options.minutes
    ended = findings = 0
    with ProcessPoolExecutor(options.jobs, initializer=load_kernels) as pool:
        waiting = {pool.submit(search, some) for some in islice(chunks(seeds), options.jobs)}
        while waiting:
            done = next(as_completed(waiting))
            waiting.remove(done)
            ended += CHUNK
            for finding in done.result():
                findings += 1
                print(finding.story(), flush=True)
                if options.keep:
                    keep(finding)
            if time.monotonic() < until_s and (some := next(chunks(seeds), [])):
                waiting.add(pool.submit(search, some))
            if sys.stderr.isatty():
                print(f"\r{ended} histories, {findings} findings", end="", file=sys.stderr)
    print(f"{ended} histories, {findings} broke a promise")
    return 1 if findings else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_range, help="first-last; chance seeds without it")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help=f"append findings to {SEEDS.name}")
    return parser.parse_args()


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
