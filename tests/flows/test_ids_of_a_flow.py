"""The real dataflow on Bytewax: what it remembers lies in files beside the recovery store, and is gone on from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from bytewax._bytewax import run_main
from bytewax.recovery import RecoveryConfig, init_db_dir

from flows.decide import FlowSettings, build
from flows.metrics import Meter
from flows.place import SourceOptions
from flows.process import _told
from flows.snapshots.framed import StateDamagedError
from schemas.kpis import Verdicts
from schemas.topics import EVENTS, VERDICTS
from tests.support.memory_log import MemoryLog


def run(log: MemoryLog, store: Path, *, dedupe_ids: int = 8_192, shards: int = 1) -> None:
    settings = FlowSettings(
        shards=shards, dedupe_ids=dedupe_ids, recovery_dir=store, source=SourceOptions(ends=True, touches=True)
    )
    recovery = RecoveryConfig(store, timedelta(0))  # type: ignore[no-untyped-call]
    flow = build(settings, log, meter=Meter())
    run_main(flow, epoch_interval=timedelta(seconds=0.05), recovery_config=recovery)  # type: ignore[no-untyped-call]


def store_in(folder: Path) -> Path:
    store = folder / "recovery"
    store.mkdir()
    init_db_dir(store, 1)  # type: ignore[no-untyped-call]
    return store


def send(log: MemoryLog, *numbers: int) -> None:
    line = '{{"event_id":"e{0}","type":"impression","ts":1780008000000,"campaign_id":"c{1}","cost_micros":1}}'
    log.append(EVENTS, 0, [line.format(number, number % 5).encode() for number in numbers])


def duplicates(log: MemoryLog) -> int:
    chunk = log.read(VERDICTS, 0, 0, 2**24)
    assert chunk is not None
    return sum(len(msgspec.json.decode(record, type=Verdicts).duplicates) for record in chunk.records())


@pytest.mark.parametrize("shards", [1, 3])
def test_a_flow_that_starts_again_knows_what_it_has_seen(tmp_path: Path, shards: int) -> None:
    log, store = MemoryLog(1), store_in(tmp_path)
    for first in range(0, 3_000, 1_000):
        send(log, *range(first, first + 1_000))
        run(log, store, shards=shards)
    assert sum(path.stat().st_size for path in store.rglob("*.ids")) >= 8 * 3_000
    send(log, *range(0, 3_000, 3))
    run(log, store, shards=shards)
    assert duplicates(log) == 1_000


def test_a_memory_of_another_size_goes_on_with_what_fits(tmp_path: Path) -> None:
    log, store = MemoryLog(1), store_in(tmp_path)
    send(log, *range(3_000))
    run(log, store)
    send(log, *range(2_500, 3_000))
    run(log, store, dedupe_ids=1_024)
    assert duplicates(log) == 500
    send(log, *range(100))
    run(log, store, dedupe_ids=8_192)
    assert duplicates(log) == 500, "these were forgotten"


def test_files_that_are_gone_are_told_with_the_mend(tmp_path: Path) -> None:
    log, store = MemoryLog(1), store_in(tmp_path)
    send(log, *range(3_000))
    run(log, store)
    for path in store.rglob("*.ids"):
        path.unlink()
    with pytest.raises(BaseException) as ended:  # noqa: PT011
        run(log, store)
    told = _told(ended.value)
    assert isinstance(told, StateDamagedError)
    assert "penstock flow --rewind" in str(told)
