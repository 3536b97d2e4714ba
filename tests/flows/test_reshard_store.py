"""The state of a stopped flow in another number of shards: what comes after is what would have come without."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from bytewax._bytewax import run_main
from bytewax.recovery import RecoveryConfig

from flows.decide import FlowSettings, build
from flows.metrics import Meter
from flows.place import SourceOptions
from flows.reshard import CannotReshardError, open_state, reshard_store, shown
from flows.snapshots.framed import StateDamagedError
from flows.store import StoreSettings, prepare, put_aside
from schemas.topics import EVENTS, partition_of
from tests.support import flow_runs
from tests.support.memory_log import MemoryLog
from tests.support.reshard_runs import Undisturbed, outcome

PARTITIONS = 2
IDS = 65_536
NOW_MS = 1_780_000_000_000


def run(log: MemoryLog, store: Path, shards: int, *, journals: bool = True) -> None:
    """Work through all that the log has."""
    own = StoreSettings(shards, log.partitions(EVENTS), log.identity())
    prepare(store, own, process=0, processes=1, shared=True)
    source = SourceOptions(ends=True, touches=True, journals=journals)
    settings = FlowSettings(shards=shards, dedupe_ids=IDS, recovery_dir=store, source=source)
    recovery = RecoveryConfig(store, timedelta(0))  # type: ignore[no-untyped-call]
    flow = build(settings, log, meter=Meter())
    run_main(flow, epoch_interval=timedelta(seconds=0.05), recovery_config=recovery)  # type: ignore[no-untyped-call]


def resharded(log: MemoryLog, store: Path, shards: int, *, undrained: bool = False) -> Path:
    """Where the old store is."""
    return reshard_store(store, log, shards=shards, dedupe_ids=IDS, now_ms=NOW_MS, undrained=undrained)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Where no number changes."""
    log, store = MemoryLog(PARTITIONS), tmp_path_factory.mktemp("never") / "recovery"
    return Undisturbed.made(log, lambda: run(log, store, 1))


def begun(undisturbed: Undisturbed, folder: Path, shards: int) -> tuple[MemoryLog, Path]:
    """A flow that has come as far as the undisturbed one when it stopped; it decides where that one did."""
    log, store = MemoryLog(PARTITIONS), folder / "recovery"
    undisturbed.begin(log)
    run(log, store, shards, journals=False)
    return log, store


@pytest.mark.parametrize("numbers", [[1, 2], [1, 3, 1], [3, 2]], ids=str)
def test_what_follows_is_what_would_have_followed(numbers: list[int], undisturbed: Undisturbed, tmp_path: Path) -> None:
    log, store = begun(undisturbed, tmp_path, numbers[0])
    for shards in numbers[1:]:
        resharded(log, store, shards)
    undisturbed.go_on(log)
    run(log, store, numbers[-1], journals=False)
    assert outcome(log) == undisturbed.outcome()
    assert len(open_state(store, log, IDS).shards) == numbers[-1]


def test_the_old_state_is_put_aside_and_what_was_begun_before_is_gone(undisturbed: Undisturbed, tmp_path: Path) -> None:
    log, store = begun(undisturbed, tmp_path, 1)
    (tmp_path / "recovery.half").mkdir()
    aside = resharded(log, store, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["recovery", aside.name])
    assert len(open_state(aside, log, IDS).shards) == 1
    found = shown(store, log, IDS)
    assert (found.shards, len(found.of_shards), len(found.places)) == (2, 2, PARTITIONS)
    assert sum(one.campaigns for one in found.of_shards) == sum(
        one.campaigns for one in shown(aside, log, IDS).of_shards
    )


def grown(log: MemoryLog, partitions: int) -> None:
    """The log has more partitions now, as an operator of Kafka gives it."""
    log._partitions = partitions  # type: ignore[misc]


def test_more_partitions_keep_all_totals_and_begin_at_their_first_event(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    log, store = begun(undisturbed, tmp_path, 1)
    before = totals(store, log)
    ids = shown(store, log, IDS).of_shards[0].ids
    grown(log, 4)
    resharded(log, store, 2)
    assert totals(store, log) == before
    assert all(one.ids >= ids / 2 for one in shown(store, log, IDS).of_shards)
    # All again, now where the partitions of today are: every event is known, and one of each partition is new.
    lines = [line for line in flow_runs.event_lines(3_000, 7) if line[1].endswith(b"}")]
    news = [
        (campaign, line.replace(b'"event_id":"e', b'"event_id":"new'))
        for campaign, line in {partition_of(each[0], 4): each for each in lines}.values()
    ]
    known = sum(map(len, flow_runs.judged(log)))
    flow_runs.fill(log, iter([*lines, *news]))
    run(log, store, 2)
    assert sum(map(len, flow_runs.judged(log))) == known + len(lines)
    spent = {campaign: json.loads(line)["cost_micros"] for campaign, line in news}
    assert totals(store, log) == {name: total + spent.get(name, 0) for name, total in before.items()}


def totals(store: Path, log: MemoryLog) -> dict[str, int]:
    """What each campaign has spent."""
    return {
        key.campaign_id: int(shard.arrays.campaign(slot)["spent_total"])
        for shard in open_state(store, log, IDS).shards
        for slot, key in shard.registry.campaigns.used()
    }


def test_partitions_that_are_not_read_to_their_end_are_refused_with_the_mend(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    log, store = begun(undisturbed, tmp_path, 1)
    undisturbed.go_on(log)
    grown(log, 4)
    with pytest.raises(CannotReshardError, match="not read to its end"):
        resharded(log, store, 2)
    assert len(list(tmp_path.iterdir())) == 1, "nothing was begun"
    resharded(log, store, 2, undrained=True)


def test_another_log_a_full_disk_and_no_state_are_refused_in_a_sentence(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    with pytest.raises(CannotReshardError, match="there is no state"):
        resharded(MemoryLog(PARTITIONS), tmp_path / "recovery", 2)
    log, store = begun(undisturbed, tmp_path, 1)
    with pytest.raises(CannotReshardError, match="made from another log"):
        resharded(MemoryLog(PARTITIONS), store, 2)
    with pytest.raises(CannotReshardError, match="MiB are free"):
        reshard_store(store, log, shards=2, dedupe_ids=IDS, now_ms=NOW_MS, free=lambda _: 10 * 2**20)
    prepared = tmp_path / "empty" / "recovery"
    prepare(prepared, StoreSettings(1, PARTITIONS, log.identity()), process=0, processes=1, shared=True)
    with pytest.raises(CannotReshardError, match="no whole snapshot"):
        resharded(log, prepared, 2)
    next(store.glob("part-*")).unlink()
    with pytest.raises(StateDamagedError, match="lacks parts"):
        resharded(log, store, 2)


def test_a_next_store_beside_one_that_is_there_never_comes_back(undisturbed: Undisturbed, tmp_path: Path) -> None:
    log, store = begun(undisturbed, tmp_path, 1)
    (tmp_path / "recovery.next").mkdir()
    run(log, store, 1)
    assert not (tmp_path / "recovery.next").exists()
    shutil.copytree(store, tmp_path / "recovery.next")
    assert put_aside(store, NOW_MS) is not None
    assert not (tmp_path / "recovery.next").exists(), "who rewinds has no state"
