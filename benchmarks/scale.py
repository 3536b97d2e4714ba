"""`penstock bench scale`: one file through clusters of one and two flow processes over a real log.

Each cluster runs twice on a log of its own: over nothing, which says how long it takes to start and to end, and over
the file. What is between the two is the time of the work.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.pipeline import define_campaigns, fill
from cli.itself import itself
from flows.warm import load_kernels
from ingest.kafka_log import KafkaLog
from ingest.kafka_topics import ensure_topics
from ingest.local_log import LocalLog
from schemas.log import Log

PARTITIONS: Final = 2
SHARDS: Final = 4
WITHIN_S: Final = 900.0


class ScaleResult(msgspec.Struct):
    """One line of JSON for each number of processes. `state_bytes` is on disk: the recovery store and its files."""

    processes: int
    seconds_to_start: float
    seconds: float
    # Times as fast as one process.
    times: float
    # Of the largest process so far.
    peak_rss_bytes: int
    state_bytes: int


def measure(path: Path, kafka: str, counts: tuple[int, ...] = (1, 2)) -> list[ScaleResult]:
    """The same work by so many processes each, one after the other; `kafka` empty: over the local log."""
    # What starts first would compile kernels for all that follow.
    load_kernels()
    results: list[ScaleResult] = []
    for processes in counts:
        with tempfile.TemporaryDirectory(prefix="penstock-scale-") as folder:
            result = _measure(path, kafka, Path(folder), processes)
        alone = results[0].seconds if results else result.seconds
        results.append(msgspec.structs.replace(result, times=round(alone / result.seconds, 2)))
    return results


def _measure(path: Path, kafka: str, data_dir: Path, processes: int) -> ScaleResult:
    prefix = f"scale{uuid.uuid4().hex[:12]}."
    own = {
        "PENSTOCK_DATA_DIR": str(data_dir),
        "PENSTOCK_PARTITIONS": str(PARTITIONS),
        "PENSTOCK_SHARDS": str(SHARDS),
        "PENSTOCK_KAFKA": kafka,
        "PENSTOCK_KAFKA_PREFIX": prefix,
    }
    log = _log(kafka, prefix, data_dir)
    started_s = _run(processes, own)
    define_campaigns(log, fill(log, path))
    log.close()
    seconds = max(0.01, _run(processes, own) - started_s)
    return ScaleResult(
        processes=processes,
        seconds_to_start=round(started_s, 2),
        seconds=round(seconds, 2),
        times=1.0,
        peak_rss_bytes=1_024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        state_bytes=sum(file.stat().st_size for file in (data_dir / "recovery").rglob("*") if file.is_file()),
    )


def _log(kafka: str, prefix: str, data_dir: Path) -> Log:
    if not kafka:
        return LocalLog(data_dir / "log", partitions=PARTITIONS, fsync=False)
    ensure_topics(kafka, PARTITIONS, prefix=prefix)
    return KafkaLog(kafka, prefix=prefix)


def _run(processes: int, own: dict[str, str]) -> float:
    """Seconds that the flow takes to the end of the log, its start and end included."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    began_s = time.perf_counter()
    command = itself("flow", "--until-end", "--processes", str(processes))
    subprocess.run(command, env=others | own, check=True, timeout=WITHIN_S, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s
