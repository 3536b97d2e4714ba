"""`penstock bench log`: what the embedded log takes and gives on this machine's disk, and how late a reader at its
tail sees a record.

The tail is read by another process; its delay counts from before the append until the record was read.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ingest.local_log import LocalLog
from schemas.topics import EVENTS

RECORD_BYTES: Final = 300
BATCH_RECORDS: Final = 1_000
READ_BYTES: Final = 2 * 2**20
_TAIL_RECORDS: Final = 1_000
# Between two appends that the tail is measured with.
_PACE_S: Final = 0.005
_READY: Final = b"ready"


def measure(folder: Path, megabytes: int) -> dict[str, Any]:
    """Appends with fsync (alone and in batches) and without, reads of both, and the delay at the tail."""
    record = b'{"type":"impression","campaign_id":"cmp-1","event_id":"' + b"0123456789abcdef" * 15
    batch = [record[: RECORD_BYTES - 3] + b'"}'] * BATCH_RECORDS
    batches = megabytes * 2**20 // ((RECORD_BYTES + 1) * BATCH_RECORDS)
    singles = batches * BATCH_RECORDS // 10
    written, small = _log(folder / "batches", fsync=False), _log(folder / "singles", fsync=False)
    result = {
        "append_mb_per_s": _rate(lambda: _fill(written, batch, batches)),
        "append_fsync_mb_per_s": _rate(lambda: _fill(_log(folder / "synced", fsync=True), batch, batches)),
        "appends_of_one_per_s": round(singles / _seconds(lambda: _fill(small, batch[:1], singles))),
        "appends_of_one_fsync_per_s": round(
            1_000 / _seconds(lambda: _fill(_log(folder / "one", fsync=True), batch[:1], 1_000))
        ),
        "read_mb_per_s": _rate(lambda: _read(written)),
        "read_of_ones_mb_per_s": _rate(lambda: _read(small)),
        "idle_polls_per_s": round(20_000 / _seconds(lambda: _poll(written, 20_000))),
        **_tail(folder / "tail"),
    }
    written.close()
    small.close()
    return result


def _log(folder: Path, *, fsync: bool) -> LocalLog:
    return LocalLog(folder, partitions=1, fsync=fsync)


def _fill(log: LocalLog, records: Sequence[bytes], times: int) -> int:
    end = 0
    for _ in range(times):
        end = log.append(EVENTS, 0, records)
    return end


def _read(log: LocalLog) -> int:
    offset = 0
    while (chunk := log.read(EVENTS, 0, offset, READ_BYTES)) is not None:
        offset = chunk.next_offset
    return offset


def _poll(log: LocalLog, times: int) -> int:
    end = log.end(EVENTS, 0)
    for _ in range(times):
        log.read(EVENTS, 0, end, READ_BYTES)
    return 0


def _seconds(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    size = work()
    return round(size / (time.perf_counter() - began) / 2**20, 1)


def _tail(folder: Path) -> dict[str, float]:
    """Delay from append to another process's read, in milliseconds."""
    log = _log(folder, fsync=True)
    log.append(EVENTS, 0, [_READY])
    command = [sys.executable, "-P", "-m", f"{__package__}.log", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        for _ in range(_TAIL_RECORDS):
            log.append(EVENTS, 0, [b"%d" % time.monotonic_ns()])
            time.sleep(_PACE_S)
        log.append(EVENTS, 0, [b"0"])
        delays = sorted(int(line) for line in reader.stdout.read().split())
    log.close()
    return {f"tail_p{part}_ms": round(delays[len(delays) * part // 100] / 1e6, 2) for part in (50, 99)}


def _follow(folder: Path) -> None:
    """Print every record's delay in nanoseconds, until the record that says 0."""
    log = _log(folder, fsync=False)
    offset = 0
    delays: list[int] = []
    while True:
        chunk = log.read(EVENTS, 0, offset, READ_BYTES, timeout_s=1.0)
        if chunk is None:
            continue
        now_ns = time.monotonic_ns()
        offset = chunk.next_offset
        for record in chunk.records():
            if record == _READY:
                print("ready", flush=True)
            elif record == b"0":
                print("\n".join(map(str, delays)))
                return
            else:
                delays.append(now_ns - int(record))


if __name__ == "__main__":
    _follow(Path(sys.argv[1]))
