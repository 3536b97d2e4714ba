"""The whole dataflow under Bytewax in this process: the same input gives the same output, however it is run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from bytewax._bytewax import run_main
from bytewax.recovery import RecoveryConfig, init_db_dir

from flows.decide import FlowSettings, build
from flows.metrics import Meter
from flows.source import SourceOptions
from schemas.control import decode_order
from schemas.live import LiveFrame, decode_live
from schemas.topics import DECISIONS, LIVE, ORDER
from tests.support import flow_runs
from tests.support.memory_log import MemoryLog

PARTITIONS = 2
EVENTS_TOTAL = 12_000
DAILY_BUDGET_MICROS = 1_200_000


def run(
    log: MemoryLog, *, shards: int = 1, recovery: Path | None = None, journals: bool = True, span_bytes: int = 100_000
) -> Meter:
    meter = Meter()
    source = SourceOptions(span_bytes=span_bytes, ends=True, journals=journals)
    flow = build(FlowSettings(shards=shards, dedupe_ids=65_536, source=source), log, meter=meter)
    config = None if recovery is None else RecoveryConfig(recovery)  # type: ignore[no-untyped-call]
    run_main(flow, epoch_interval=timedelta(seconds=0.2), recovery_config=config)  # type: ignore[no-untyped-call]
    return meter


@pytest.fixture(scope="module")
def ran() -> MemoryLog:
    log = MemoryLog(PARTITIONS)
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    flow_runs.fill(log, flow_runs.event_lines(EVENTS_TOTAL, 5))
    meter = run(log)
    assert meter.lines == EVENTS_TOTAL
    return log


def fresh(ran: MemoryLog) -> MemoryLog:
    log = MemoryLog(PARTITIONS)
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    flow_runs.copy(ran, log, "events")
    return log


def test_a_campaign_that_reaches_its_budget_is_paused_by_a_decision(ran: MemoryLog) -> None:
    kinds = [msgspec.json.decode(record)["kind"] for record in flow_runs.decisions(ran).values()]
    assert "pause" in kinds
    assert "resume" in kinds


def test_campaign_totals_are_the_sums_of_the_distinct_valid_events(ran: MemoryLog) -> None:
    expected: dict[str, list[int]] = {}
    seen: set[str] = set()
    for campaign, line in flow_runs.event_lines(EVENTS_TOTAL, 5):
        if not line.endswith(b"}"):
            continue
        event = msgspec.json.decode(line)
        if event["event_id"] not in seen:
            seen.add(event["event_id"])
            total = expected.setdefault(campaign, [0, 0])
            total[0] += 1
            total[1] += event["cost_micros"]
    found: dict[str, list[int]] = {}
    for key, (version, _, *counters) in flow_runs.windows(ran).items():
        if key[2] == "campaign" and key[7] == "1h":
            total = found.setdefault(str(key[1]), [0, 0])
            total[0] += version
            total[1] += counters[4]
    assert found == expected


@pytest.mark.parametrize("shards", [2, 3])
def test_the_number_of_shards_changes_nothing(ran: MemoryLog, shards: int) -> None:
    log = fresh(ran)
    run(log, shards=shards)
    assert flow_runs.decisions(log) == flow_runs.decisions(ran)
    assert flow_runs.windows(log) == flow_runs.windows(ran)
    assert flow_runs.judged(log) == flow_runs.judged(ran)


def test_the_length_of_spans_changes_nothing(ran: MemoryLog) -> None:
    log = fresh(ran)
    run(log, span_bytes=3_000)
    assert flow_runs.decisions(log) == flow_runs.decisions(ran)
    assert flow_runs.windows(log) == flow_runs.windows(ran)


def test_events_and_their_journal_replayed_elsewhere_give_the_same_decisions_byte_for_byte(ran: MemoryLog) -> None:
    replay = MemoryLog(PARTITIONS)
    flow_runs.copy(ran, replay)
    run(replay, journals=False)
    assert sorted(replay.records(DECISIONS)) == sorted(ran.records(DECISIONS))
    assert flow_runs.windows(replay) == flow_runs.windows(ran)
    assert [replay.records(ORDER, p) for p in range(PARTITIONS)] == [ran.records(ORDER, p) for p in range(PARTITIONS)]


def test_a_second_run_goes_on_where_the_first_one_ended(ran: MemoryLog, tmp_path: Path) -> None:
    store = tmp_path / "recovery"
    store.mkdir()
    init_db_dir(store, 1)  # type: ignore[no-untyped-call]
    lines = list(flow_runs.event_lines(EVENTS_TOTAL, 5))
    log = MemoryLog(PARTITIONS)
    flow_runs.define_all(log, DAILY_BUDGET_MICROS)
    flow_runs.fill(log, iter(lines[:7_000]))
    run(log, recovery=store)
    flow_runs.fill(log, iter(lines[7_000:]))
    second = run(log, recovery=store)
    assert second.lines == EVENTS_TOTAL - 7_000
    assert flow_runs.decisions(log) == flow_runs.decisions(ran)
    assert flow_runs.windows(log) == flow_runs.windows(ran)


def test_every_verdict_span_begins_where_the_one_before_ended(ran: MemoryLog) -> None:
    for partition, spans in flow_runs.verdicts(ran).items():
        ends = [0, *(one.next_offset for one in spans)]
        assert [one.first_offset for one in spans] == ends[:-1]
        assert ends[-1] == ran.end("events", partition)


def test_control_records_are_journalled_with_their_home_partition_only(ran: MemoryLog) -> None:
    brought = [
        record.campaign_id
        for partition in range(PARTITIONS)
        for entry in map(decode_order, ran.records(ORDER, partition))
        for record in entry.control
    ]
    assert sorted(brought) == sorted(f"cmp-{number}" for number in range(flow_runs.CAMPAIGNS))


def test_live_frames_show_the_campaigns(ran: MemoryLog) -> None:
    frames = [frame for frame in map(decode_live, ran.records(LIVE)) if isinstance(frame, LiveFrame)]
    shown = {row.campaign_id for frame in frames for row in frame.rows}
    # Which rows a run at full speed has time to show depends on the machine.
    assert shown
    assert all(name.startswith("cmp-") for name in shown)
