"""Hunt for a kill that changes something: `python -m tests.flows.kill_hunt --rounds 20 --kind kafka --processes 2`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.support.flow_kills import Undisturbed, assert_same, kill_again_and_again
from tests.support.kafka.broker import shared_broker

# Of 300,000 events the busiest campaigns spend four times 30 units.
BUDGET_MICROS_PER_EVENT = 100


def main() -> int:
    """0 when no round differed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="penstock-kills-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        bootstrap = ""
        if options.kind == "kafka":
            bootstrap = os.environ.get("PENSTOCK_KAFKA") or shared_broker(root / "kafka", os.getpid())
        budget_micros = BUDGET_MICROS_PER_EVENT * options.events
        undisturbed = Undisturbed.run(root / "undisturbed", options.events, options.seed, budget_micros, bootstrap)
        broken = 0
        for number in range(options.seed, options.seed + options.rounds):
            broken += _round(undisturbed, root / str(number), options, number)
    print(
        f"{options.kind}, {options.processes} process(es): {options.rounds - broken} of {options.rounds} rounds equal"
    )
    return 1 if broken else 0


def _round(undisturbed: Undisturbed, root: Path, options: argparse.Namespace, seed: int) -> bool:
    began_s = time.monotonic()
    log = kill_again_and_again(undisturbed, root, options.processes, options.kills, random.Random(seed), varied=True)
    try:
        assert_same(log, undisturbed.log)
    except AssertionError as error:
        print(f"seed {seed}: BROKEN: {error}", flush=True)
        return True
    finally:
        log.close()
    print(f"seed {seed}: equal after {options.kills} kills, {time.monotonic() - began_s:.0f} s", flush=True)
    return False


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("local", "kafka"), default="local")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
