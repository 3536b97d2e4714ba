"""Another number of shards for a state, killed before the step of a given number. As a module."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from flows.instance_lock import InstanceLock
from flows.reshard import reshard_store
from ingest.local_log import LocalLog

IDS = 65_536
# The number of no step.
NEVER = -1


def main(root: Path, partitions: int, shards: int, killed_at: int) -> None:
    """Print each step before it is done."""
    steps = iter(range(1_000))

    def tell(step: str) -> None:
        print(step, flush=True)
        if next(steps) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    log = LocalLog(root / "log", partitions=partitions, fsync=False)
    with InstanceLock(root):
        reshard_store(root / "recovery", log, shards=shards, dedupe_ids=IDS, now_ms=1, tell=tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
