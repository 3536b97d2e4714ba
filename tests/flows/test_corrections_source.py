"""Corrections on their way into the written order."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from flows.corrections import ENTRY_CORRECTIONS_MAX
from flows.logic.step import Output
from flows.place import LogBehindError, Place
from flows.sink import count_output
from flows.status import StatusReporter
from schemas.control import OrderEntry, decode_order, encode_order
from schemas.corrections import Applied, Cause, Correction, encode_correction
from schemas.log import Chunk, LogUnavailableError
from schemas.topics import CORRECTIONS, ORDER
from tests.support.memory_log import MemoryLog
from tests.support.source_reader import AT_HOME, ELSEWHERE, HERE, PARTITIONS, Reader, add

TS_MS = 1_700_000_000_000


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


def correction(key: str = "k1", **given: Any) -> Correction:
    said: dict[str, Any] = {
        "correction_id": key, "org_id": "default", "campaign_id": AT_HOME, "ts_ms": TS_MS, "cause": Cause.NOTE,
        "spend_micros": 1,
    }  # fmt: skip
    return Correction(**(said | given))


def send(log: MemoryLog, *corrections: Correction) -> None:
    log.append(CORRECTIONS, HERE, [encode_correction(each) for each in corrections])


def entries(log: MemoryLog) -> list[dict[str, Any]]:
    return [json.loads(record) for record in log.records(ORDER, HERE)]


def counted(reader: Reader, name: str, **labels: str) -> float:
    return reader.meter.registry.get_sample_value(f"penstock_flow_{name}_total", labels) or 0.0


def test_a_correction_comes_into_force_with_the_next_tick(log: MemoryLog) -> None:
    reader = Reader(log)
    add(log, b"1")
    reader.read()
    send(log, correction(), correction("k2"))
    assert reader.later(900).read() == ["nudge"]
    assert reader.later(100).read() == ["tick 1001000 {k1 k2}"]
    assert reader.later(1_000).read() == ["tick 1002000"]


def test_entries_of_a_log_without_corrections_have_the_bytes_that_they_always_had(log: MemoryLog) -> None:
    add(log, b"1")
    Reader(log).later(1_000).read()
    assert log.records(ORDER, HERE) == [b'{"offset":0,"now_ms":1001000,"control":[]}']


def test_the_entry_is_all_that_a_replay_needs(log: MemoryLog) -> None:
    send(log, correction())
    told = Reader(log).read()
    copy = MemoryLog(PARTITIONS)
    copy.append(ORDER, HERE, log.records(ORDER, HERE))
    assert Reader(copy, journals=False).read() == told == ["tick 1000000 {k1}"]


def test_a_flow_that_was_killed_reads_on_behind_what_the_journal_brought(log: MemoryLog) -> None:
    reader = Reader(log)
    place = reader.part.snapshot()
    send(log, correction())
    assert reader.read() == ["tick 1000000 {k1}"]
    send(log, correction("k2"))
    assert Reader(log, place).later(1_000).read() == ["tick 1000000 {k1}", "tick 1001000 {k2}"]


def test_a_snapshot_of_before_there_were_corrections_goes_on_from_the_begin_of_the_topic(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    old = Place(*reader.part.snapshot()[:6])
    assert old.corrections == -1
    send(log, correction())
    assert Reader(log, old).later(1_000).read() == ["tick 1001000 {k1}"]


def test_a_snapshot_keeps_where_the_reader_is(log: MemoryLog) -> None:
    send(log, correction())
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()
    assert place.corrections == log.end(CORRECTIONS, HERE)
    assert Reader(log, place).later(1_000).read() == ["tick 1001000"]


def test_a_large_import_goes_into_entries_of_a_bounded_size_one_a_tick(log: MemoryLog) -> None:
    send(log, *(correction(f"k{n}") for n in range(2 * ENTRY_CORRECTIONS_MAX + 5)))
    reader = Reader(log)
    brought = []
    for _ in range(4):
        steps = reader.read()
        assert len(steps) == 1, "nothing comes between ticks"
        brought.append(steps[0].count("k"))
        reader.later(1_000)
    assert [one - 1 for one in brought] == [ENTRY_CORRECTIONS_MAX, ENTRY_CORRECTIONS_MAX, 5, 0]


def test_large_corrections_do_not_make_an_entry_outgrow_a_message(log: MemoryLog) -> None:
    send(log, *(correction(f"k{n}", creative_id="c" * 2_000, country="d" * 2_000) for n in range(200)))
    Reader(log).read()
    assert len(log.records(ORDER, HERE)[0]) < 400_000


def test_a_bounded_run_ends_when_all_that_was_there_is_in_force(log: MemoryLog) -> None:
    add(log, b"1")
    send(log, *(correction(f"k{n}") for n in range(2 * ENTRY_CORRECTIONS_MAX + 5)))
    reader = Reader(log, ends=True)
    brought = 0
    with suppress(StopIteration):
        for _ in range(50):
            brought += sum(max(step.count("k") - 1, 0) for step in reader.read(1))
    assert brought == 2 * ENTRY_CORRECTIONS_MAX + 5


def test_another_partition_s_correction_is_left_out_and_counted(log: MemoryLog) -> None:
    send(log, correction(campaign_id=ELSEWHERE), correction("k2"))
    reader = Reader(log)
    assert reader.read() == ["tick 1000000 {k2}"]
    assert counted(reader, "corrections", outcome="foreign") == 1


def test_what_cannot_be_read_is_left_out_and_counted(log: MemoryLog) -> None:
    wide = correction(spend_micros=10**16)
    newer = json.dumps(json.loads(encode_correction(correction())) | {"cause": "act_of_god"}).encode()
    log.append(CORRECTIONS, HERE, [b"\x00\x00", b"{}", newer, encode_correction(wide), encode_correction(correction())])
    reader = Reader(log)
    assert reader.read() == ["tick 1000000 {k1}"]
    assert counted(reader, "bad_records", topic=CORRECTIONS) == 4


def test_only_what_is_left_out_is_read_once(log: MemoryLog) -> None:
    log.append(CORRECTIONS, HERE, [b"{}"])
    reader = Reader(log)
    reader.read()
    reader.later(1_000).read()
    assert counted(reader, "bad_records", topic=CORRECTIONS) == 1


def test_an_entry_that_cannot_be_read_loses_no_correction(log: MemoryLog) -> None:
    reader = Reader(log)
    send(log, correction())
    reader.read()
    send(log, correction("k2"))
    reader.later(1_000).read()
    broken = MemoryLog(PARTITIONS)
    broken.append(CORRECTIONS, HERE, log.records(CORRECTIONS, HERE))
    first, second = log.records(ORDER, HERE)
    broken.append(ORDER, HERE, [b"\x00" * len(first), second])
    again = Reader(broken).later(5_000).read()
    assert again == ["tick 1001000 {k2}", "tick 1005000 {k1 k2}"], "the shard knows k2 by its id"


class WithoutTopic(MemoryLog):
    """A broker on which nobody has made the topic yet."""

    made = False

    def end(self, topic: str, partition: int) -> int:
        if topic == CORRECTIONS and not self.made:
            raise LogUnavailableError("corrections: no such topic; run `penstock topics create`")
        return super().end(topic, partition)

    def read(self, topic: str, partition: int, offset: int, max_bytes: int, timeout_s: float = 0.0) -> Chunk | None:
        assert topic != CORRECTIONS or self.made
        return super().read(topic, partition, offset, max_bytes, timeout_s)


def test_a_flow_goes_on_while_the_topic_is_not_there() -> None:
    log = WithoutTopic(PARTITIONS)
    add(log, b"1")
    reader = Reader(log)
    assert reader.read() == ["tick 1000000", "events 0-2"]
    log.made = True
    send(log, correction())
    assert reader.later(1_000).read()[-1] == "tick 1001000"
    assert reader.later(30_000).read() == ["tick 1031000 {k1}"]


def test_retention_that_took_corrections_away_is_told(log: MemoryLog) -> None:
    send(log, correction(), correction("k2"))
    log.drop_before(CORRECTIONS, HERE, len(encode_correction(correction())) + 1)
    reader = Reader(log, Place(0, 0, 0, 0, corrections=0))
    assert reader.read() == ["tick 1000000"]
    assert reader.later(1_000).read() == ["tick 1001000 {k2}"]
    assert counted(reader, "offsets_gone", topic=CORRECTIONS) == 1


def test_a_log_that_has_lost_the_end_of_its_corrections_is_refused(log: MemoryLog) -> None:
    send(log, correction())
    place = Place(0, 0, 0, 0, corrections=log.end(CORRECTIONS, HERE) + 10)
    with pytest.raises(LogBehindError, match="corrections/1 ends at offset"):
        Reader(log, place).read()


def test_a_copy_of_events_and_their_order_alone_can_be_gone_on_from(log: MemoryLog) -> None:
    send(log, correction())
    Reader(log).read()
    copy = MemoryLog(PARTITIONS)
    copy.append(ORDER, HERE, log.records(ORDER, HERE))
    reader = Reader(copy).later(1_000)
    assert reader.read() == ["tick 1000000 {k1}", "tick 1001000"]
    send(copy, correction("k9"))
    assert reader.later(1_000).read() == ["tick 1002000 {k9}"]


def test_what_entries_brought_is_not_read_again_by_a_flow_that_begins_anew(log: MemoryLog) -> None:
    """Entries, and events with them, are kept for days, corrections for months."""
    reader = Reader(log)
    send(log, correction())
    reader.read()
    reader.later(1_000).read()
    first, second = log.records(ORDER, HERE)
    assert decode_order(second).corrections_next == decode_order(first).corrections_next
    log.drop_before(ORDER, HERE, len(first) + 1)
    assert Reader(log).later(5_000).read()[-2:] == ["tick 1001000", "tick 1005000"]


def test_a_retry_s_copy_of_an_entry_may_bring_more(log: MemoryLog) -> None:
    """The log took an entry after all, and the next try found another correction before the clock had moved on."""
    first, second = correction(), correction("k2")
    both = [OrderEntry(offset=0, now_ms=1_000_000, corrections=some) for some in ([first], [first, second])]
    log.append(ORDER, HERE, [encode_order(entry) for entry in both])
    assert Reader(log, journals=False).read() == ["tick 1000000 {k1}", "tick 1000000 {k1 k2}"]


def test_what_became_of_corrections_is_counted_and_told(log: MemoryLog) -> None:
    reader = Reader(log)
    said = Applied(
        partition=HERE,
        now_ms=TS_MS,
        corrections=[correction(), correction("k2"), correction("k3")],
        late=[1],
        refused=[2],
    )
    count_output(reader.meter, Output(applied=[said], corrections_again=4))
    reader.meter.corrected("foreign")
    assert {how: counted(reader, "corrections", outcome=how) for how in reader.meter.corrections} == {
        "applied": 2, "late": 1, "refused": 1, "again": 4, "foreign": 1
    }  # fmt: skip
    status = StatusReporter(log, reader.meter, reader.clock, 0).report()
    assert (status.corrections, status.corrections_late, status.corrections_left) == (2, 1, 6)
