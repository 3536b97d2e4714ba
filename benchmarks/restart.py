"""From the start of a killed flow to its first decision, with much state: known event ids, people and campaigns."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.pipeline import campaign_record
from cli.itself import itself
from flows.partition import GROUP
from ingest.local_log import LocalLog
from schemas.control import encode_control
from schemas.decisions import decode_decision
from schemas.log import Log
from schemas.topics import CONTROL, DECISIONS, EVENTS, partition_of

PARTITIONS: Final = 2
PROBE: Final = "probe"
START_MS: Final = 1_780_000_000_000
# The state is built over so much event time.
SPREAD_MS: Final = 600_000
BUDGET_MICROS: Final = 1_000_000_000
WITHIN_S: Final = 600.0
_BLOCK: Final = 20_000
_LOOK_S: Final = 0.002


class RestartResult(msgspec.Struct):
    """One line of JSON. `seconds_to_first_decision` counts from the start of the process."""

    event_ids: int
    actors: int
    campaigns: int
    store_bytes: int
    seconds_to_build_state: float
    seconds_to_first_decision: float


def measure(event_ids: int = 1_000_000, campaigns: int = 10_000) -> RestartResult:
    """Build the state, kill the flow with SIGKILL, start it again; the first decision is a pause that waits in the log.

    Every event is of another person.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-restart-") as folder:
        data_dir = Path(folder)
        log = LocalLog(data_dir / "log", partitions=PARTITIONS, fsync=False)
        _fill(log, event_ids, campaigns)
        began_s = time.monotonic()
        with _flow(data_dir) as flow:
            _wait(flow, lambda: all(log.committed(GROUP, EVENTS, p) == log.end(EVENTS, p) for p in range(PARTITIONS)))
        built_s = time.monotonic() - began_s
        tipping = _line("tip", PROBE, START_MS + SPREAD_MS, cost_micros=BUDGET_MICROS)
        log.append(EVENTS, partition_of(PROBE, PARTITIONS), [tipping])
        offset = log.end(DECISIONS, 0)
        began_s = time.monotonic()
        with _flow(data_dir) as flow:
            _wait(flow, lambda: _is_paused(log, offset))
            seconds = time.monotonic() - began_s
        store = sum(path.stat().st_size for path in (data_dir / "recovery").rglob("*") if path.is_file())
        return RestartResult(event_ids, event_ids, campaigns + 1, store, round(built_s, 2), round(seconds, 2))


def _fill(log: LocalLog, event_ids: int, campaigns: int) -> None:
    names = [PROBE, *(f"cmp-{number}" for number in range(campaigns))]
    log.append(CONTROL, 0, [encode_control(campaign_record(name, BUDGET_MICROS)) for name in names])
    homes = [partition_of(name, PARTITIONS) for name in names]
    lines: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for number in range(event_ids):
        place = 1 + number % campaigns
        ts_ms = START_MS + number * SPREAD_MS // event_ids
        lines[homes[place]].append(_line(f"e{number}", names[place], ts_ms, cost_micros=1_000))
    for partition, records in enumerate(lines):
        for first in range(0, len(records), _BLOCK):
            log.append(EVENTS, partition, records[first : first + _BLOCK])


def _line(event_id: str, campaign_id: str, ts_ms: int, cost_micros: int) -> bytes:
    return (
        f'{{"event_id":"{event_id}","type":"impression","ts":{ts_ms},"campaign_id":"{campaign_id}",'
        f'"user_id":"u-{event_id}","cost_micros":{cost_micros}}}'
    ).encode()


@contextmanager
def _flow(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`penstock flow` on the folder, killed with SIGKILL at the end."""
    own = {"PENSTOCK_DATA_DIR": str(data_dir), "PENSTOCK_PARTITIONS": str(PARTITIONS), "PENSTOCK_EPOCH_SECONDS": "2"}
    others = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    with subprocess.Popen(itself("flow"), env=others | own) as process:
        try:
            yield process
        finally:
            process.kill()


def _is_paused(log: Log, offset: int) -> bool:
    chunk = log.read(DECISIONS, 0, offset, 2**20)
    return chunk is not None and any(decode_decision(record).campaign_id == PROBE for record in chunk.records())


def _wait(flow: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        if flow.poll() is not None:
            raise RuntimeError(f"the flow ended by itself with code {flow.returncode}")
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the flow did not get there within {WITHIN_S:.0f} s")
        time.sleep(_LOOK_S)
