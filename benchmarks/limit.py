"""What the ClickHouse engine does with the same file on the same core: the measure that ours are ratios of.

Machines differ by a factor of 2.5 from day to day; a figure of a benchmark says something beside this one of the same
run. The engine (chDB, one thread, one batch, no storage) reads the file and sums it by campaign and 10 s window.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

_COLUMNS: Final = "type String, ts Int64, campaign_id String, cost_micros Int64, revenue_micros Int64"
_SQL: Final = f"""
SELECT campaign_id, intDiv(ts, 10000) * 10000 AS window_start_ms, countIf(type = 'impression'), countIf(type = 'click'),
    countIf(type = 'conversion'), sum(cost_micros), sum(revenue_micros), count()
FROM file({{path:String}}, 'JSONEachRow', '{_COLUMNS}')
GROUP BY campaign_id, window_start_ms
SETTINGS max_threads = 1, input_format_skip_unknown_fields = 1, input_format_parallel_parsing = 0
"""


class LimitResult(msgspec.Struct):
    """One line of JSON; seconds of the statement alone, the engine being loaded."""

    events: int
    windows: int
    seconds: float
    events_per_second: float


def measure(path: Path) -> LimitResult:
    """Sum a file of events (NDJSON, `ts` in milliseconds) once with the engine in this process, on one thread."""
    import chdb.session

    session = chdb.session.Session()
    try:
        session.query("SELECT 1", "TSV")
        began = time.perf_counter()
        answer = session.query(_SQL, "TSV", params={"path": str(path.resolve())})
        seconds = time.perf_counter() - began
        rows = str(answer).splitlines()
    finally:
        session.close()
    events = sum(int(row.rpartition("\t")[2]) for row in rows)
    return LimitResult(events, len(rows), round(seconds, 3), round(events / seconds))


def beside(path: Path) -> LimitResult:
    """The same in a process of its own on the same cores, so that neither measurement feels the other's memory."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", f"{__package__}.limit", str(path)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return msgspec.json.decode(ran.stdout, type=LimitResult)


if __name__ == "__main__":
    print(msgspec.json.encode(measure(Path(sys.argv[1]))).decode())
