"""`penstock bench stored`: a file of events through the flow and into ClickHouse tables, all as processes.

The log is filled before the clock starts; it stops when every accepted event can be counted in `events`.
"""

from __future__ import annotations

import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from benchmarks.pipeline import PARTITIONS, define_campaigns, fill
from benchmarks.stack import Stack, stack
from ingest.local_log import LocalLog
from schemas import topics
from schemas.log import Log

WITHIN_S: Final = 600.0
_LOOK_S: Final = 0.25


def measure(path: Path) -> dict[str, Any]:
    """Events a second from the log into ClickHouse, and when the flow alone was through."""
    with tempfile.TemporaryDirectory(prefix="penstock-stored-") as folder:
        data_dir = Path(folder)
        filled = LocalLog(data_dir / "log", partitions=PARTITIONS, fsync=False)
        define_campaigns(filled, fill(filled, path))
        filled.close()
        log = LocalLog(data_dir / "log", partitions=PARTITIONS)
        with stack(data_dir, parts=("clickhouse", "api")) as waiting:
            began = time.perf_counter()
            with waiting.also(("store", "flow")):
                decided_s, refused = _until_decided(log, began)
                rows, stored_s = _until_stored(waiting, began, _lines(path) - refused)
        log.close()
    return {
        "events_stored": rows,
        "seconds_to_decide": round(decided_s, 2),
        "seconds_to_store": round(stored_s, 2),
        "events_per_second": round(rows / stored_s),
    }


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _until_decided(log: Log, began: float) -> tuple[float, int]:
    """Seconds until verdicts cover the whole log, and how many events they refuse."""
    import msgspec

    from schemas.kpis import Verdicts

    ends = {partition: log.end(topics.EVENTS, partition) for partition in range(PARTITIONS)}
    offset, done, refused = 0, dict.fromkeys(ends, 0), 0
    while any(done[partition] < end for partition, end in ends.items()):
        _in_time(began)
        chunk = log.read(topics.VERDICTS, 0, offset, 1 << 20, timeout_s=_LOOK_S)
        if chunk is None:
            continue
        offset = chunk.next_offset
        for record in chunk.records():
            verdict = msgspec.json.decode(record, type=Verdicts)
            done[verdict.partition] = max(done[verdict.partition], verdict.next_offset)
            refused += len(verdict.duplicates) + len(verdict.dead)
    return time.perf_counter() - began, refused


def _until_stored(running: Stack, began: float, accepted: int) -> tuple[int, float]:
    """Rows in `events` once all accepted ones are there, and when."""
    while (rows := _count(running.clickhouse_url)) < accepted:
        _in_time(began)
        time.sleep(_LOOK_S)
    return rows, time.perf_counter() - began


def _count(url: str) -> int:
    try:
        with urllib.request.urlopen(
            f"{url}/?user=analyst&query=SELECT+count()+FROM+penstock.events", timeout=60
        ) as answer:
            return int(answer.read())
    except urllib.error.HTTPError:
        # The store has not made the tables yet.
        return 0


def _in_time(began: float) -> None:
    if time.perf_counter() - began > WITHIN_S:
        raise RuntimeError(f"not done in {WITHIN_S:.0f} s")
