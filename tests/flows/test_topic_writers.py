"""Lanes and the sink: outputs are in the log before their epoch closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from flows.decide import never
from flows.logic.step import Output
from flows.metrics import Meter
from flows.sink import LogSink, LogSinkPartition, sink_key
from flows.topic_writers import TopicWriter
from schemas.dead_letters import Reject, dead_letter
from schemas.decisions import Decision
from schemas.kpis import Verdicts
from schemas.serving import Serving, decode_serving
from schemas.topics import DEAD_LETTERS, DECISIONS, LIVE, SERVING, VERDICTS
from tests.support.decisions import decision_of
from tests.support.memory_log import MemoryLog


class GatedLog(MemoryLog):
    """A log whose appends wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked = threading.Event()

    def append(self, topic: str, partition: int, records: Sequence[bytes], *, keys: Sequence[str] | None = None) -> int:
        self.asked.set()
        assert self.gate.wait(10)
        return super().append(topic, partition, records, keys=keys)


@pytest.fixture
def writer_of() -> Iterator[Callable[..., TopicWriter]]:
    writers: list[TopicWriter] = []

    def make(log: MemoryLog, **options: int) -> TopicWriter:
        writers.append(TopicWriter(log, DECISIONS, Meter(), **options))
        return writers[-1]

    yield make
    for writer in writers:
        writer.close()


def test_records_arrive_in_the_order_in_which_they_were_put(writer_of: Callable[..., TopicWriter]) -> None:
    log = MemoryLog()
    writer = writer_of(log)
    for number in range(200):
        writer.put([b"%d" % number])
    assert writer.drain(never, 5.0)
    assert log.records(DECISIONS) == [b"%d" % number for number in range(200)]


def test_drain_returns_only_when_the_log_has_everything(writer_of: Callable[..., TopicWriter]) -> None:
    log = GatedLog()
    writer = writer_of(log)
    writer.put([b"1"])
    drained = threading.Event()
    waiting = threading.Thread(target=lambda: writer.drain(never, 5.0) and drained.set())
    waiting.start()
    assert log.asked.wait(5)
    assert not drained.wait(0.15)
    log.gate.set()
    assert drained.wait(5)
    waiting.join()


def test_a_log_that_is_away_is_tried_again_until_it_takes_the_outputs(writer_of: Callable[..., TopicWriter]) -> None:
    log = MemoryLog()
    log.down = True
    writer = writer_of(log)
    writer.put([b"1"])
    assert not writer.drain(lambda: True, 0.2)
    log.down = False
    assert writer.drain(never, 5.0)
    assert log.records(DECISIONS) == [b"1"]


def test_put_waits_while_the_lane_is_full(writer_of: Callable[..., TopicWriter]) -> None:
    log = GatedLog()
    writer = writer_of(log, bytes_max=10)
    writer.put([b"0123456789"])
    put = threading.Event()
    waiting = threading.Thread(target=lambda: (writer.put([b"next"]), put.set()))
    waiting.start()
    assert not put.wait(0.15)
    assert not writer.offer([b"live"])
    log.gate.set()
    assert put.wait(5)
    waiting.join()


def test_a_failure_that_is_no_outage_reaches_the_dataflow(writer_of: Callable[..., TopicWriter]) -> None:
    class BrokenLog(MemoryLog):
        def append(self, *args: object, **kwargs: object) -> int:
            raise ValueError("a record holds a newline")

    writer = writer_of(BrokenLog())
    writer.put([b"1"])
    with pytest.raises(RuntimeError, match="writing decisions failed"):
        writer.drain(never, 5.0)


def decision(number: int) -> Decision:
    return decision_of(
        decision_id=f"d{number}",
        org_id="default",
        campaign_id="c",
        kind="pause",
        reason="daily_budget_reached",
        ts_ms=0,
        effective_ms=0,
        before={},
        after={},
        inputs={},
        policy="budget",
    )


def test_the_snapshot_of_the_sink_waits_for_every_durable_topic() -> None:
    log, meter = MemoryLog(), Meter()
    part = LogSinkPartition(log, meter, never)
    verdicts = Verdicts(partition=0, first_offset=0, next_offset=9, duplicates=[3], late=[4, 5])
    letter = dead_letter(b"{", Reject.MALFORMED_JSON, "", "cut", source="events/0@7", org_id="default", ts_ms=0)
    part.write_batch([Output(decisions=[decision(1), decision(2)], verdicts=[verdicts]), [letter]])
    part.snapshot()
    part.close()
    assert [len(log.records(topic)) for topic in (DECISIONS, VERDICTS, DEAD_LETTERS, LIVE)] == [2, 1, 1, 0]
    assert (meter.decisions, meter.duplicates, meter.late) == (2, 1, 2)


def test_words_on_campaigns_are_written_under_their_keys() -> None:
    log = MemoryLog()
    part = LogSinkPartition(log, Meter(), never)
    part.write_batch([Output(serving=[Serving(org_id="acme", campaign_id=name, seq=7) for name in ("a", "b")])])
    part.snapshot()
    part.close()
    assert log.keys[SERVING] == ["acme/a", "acme/b"]
    assert [decode_serving(record).campaign_id for record in log.records(SERVING)] == ["a", "b"]


def test_a_sink_that_is_told_to_stop_while_the_log_is_away_gives_up_without_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.sink.STOP_GRACE_S", 0.2)
    log = MemoryLog()
    log.down = True
    part = LogSinkPartition(log, Meter(), lambda: True)
    part.write_batch([Output(decisions=[decision(1)])])
    with pytest.raises(RuntimeError, match="the next start goes on from the last snapshot"):
        part.snapshot()
    part.close()


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_processes_share_all_sink_partitions_whatever_their_number(processes: int) -> None:
    sinks = [LogSink(MemoryLog(), Meter(), process, processes, never) for process in range(processes)]
    parts = [part for sink in sinks for part in sink.list_parts()]
    assert sorted(parts) == [sink_key(part) for part in range(256)]
    assert all(sink_key(process) in sink.list_parts() for process, sink in enumerate(sinks))
