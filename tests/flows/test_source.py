"""The source: events, control records and ticks in one written order."""

from __future__ import annotations

import pytest

from flows.place import LogBehindError
from flows.source import Place
from schemas.control import decode_order
from schemas.topics import CONTROL, EVENTS, ORDER
from tests.support.flow_runs import define
from tests.support.memory_log import MemoryLog
from tests.support.source_reader import AT_HOME, ELSEWHERE, HERE, PARTITIONS, Reader, add, short


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


def test_all_control_records_come_into_force_before_the_very_first_event(log: MemoryLog) -> None:
    add(log, b"1", b"2")
    define(log, AT_HOME)
    define(log, AT_HOME, version=2)
    assert Reader(log).read() == [f"tick 1000000 [{AT_HOME} v1, {AT_HOME} v2]", "events 0-4"]


def test_a_control_record_goes_to_the_home_partition_of_its_campaign_only(log: MemoryLog) -> None:
    define(log, ELSEWHERE)
    define(log, AT_HOME)
    assert Reader(log).read() == [f"tick 1000000 [{AT_HOME} v1]"]


def test_a_control_record_comes_into_force_where_it_arrived_and_not_at_the_next_tick(log: MemoryLog) -> None:
    reader = Reader(log)
    add(log, b"1")
    reader.read()
    define(log, AT_HOME)
    add(log, b"2")
    assert reader.later(30).read() == [f"tick 1000030 [{AT_HOME} v1]", "events 2-4"]


def test_the_clock_ticks_once_a_second(log: MemoryLog) -> None:
    reader = Reader(log)
    assert reader.read() == ["tick 1000000"]
    assert reader.later(999).read() == []
    assert reader.later(1).read() == ["tick 1001000"]


def test_once_a_burst_is_over_one_empty_step_brings_out_its_last_live_rows(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    assert reader.read()[-1] == "events 0-2"
    assert reader.later(49).read() == []
    assert reader.later(1).read() == ["nudge"]
    assert reader.later(100).read() == []


def test_an_entry_is_in_the_journal_before_it_is_emitted(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    assert [short(item) for item in reader.part.next_batch()] == ["tick 1000000"]
    assert [decode_order(record).now_ms for record in log.records(ORDER, HERE)] == [1_000_000]


def test_a_fresh_flow_follows_the_journal_of_the_last_one(log: MemoryLog) -> None:
    reader = Reader(log)
    add(log, b"1")
    first = reader.read()
    define(log, AT_HOME)
    add(log, b"2", b"3")
    first += reader.later(500).read()
    first += reader.later(1_000).read()
    again = Reader(log)
    again.clock.now_ms = reader.clock.now_ms
    assert again.read(20) == [*first, "tick 1001501"]


def test_following_a_journal_brings_no_control_record_into_force_twice(log: MemoryLog) -> None:
    define(log, AT_HOME)
    Reader(log).read()
    assert Reader(log).later(5_000).read() == [f"tick 1000000 [{AT_HOME} v1]", "tick 1005000"]


def test_a_replay_writes_no_entries_of_its_own(log: MemoryLog) -> None:
    add(log, b"1")
    Reader(log).read()
    entries = log.records(ORDER, HERE)
    replay = Reader(log, journals=False)
    assert replay.later(60_000).read() == ["tick 1000000", "events 0-2"]
    assert log.records(ORDER, HERE) == entries


def test_it_goes_on_from_its_snapshot(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()
    add(log, b"2")
    assert Reader(log, place).later(10).read() == ["tick 1000010", "events 2-4"]


def test_no_span_crosses_an_entry(log: MemoryLog) -> None:
    reader = Reader(log)
    for second in range(3):
        add(log, b"1", b"2")
        reader.later(1_000 * second).read()
    assert Reader(log, journals=False).read(20) == [
        "tick 1000000",
        "events 0-4",
        "tick 1001000",
        "events 4-8",
        "tick 1003000",
        "events 8-12",
    ]


def test_a_span_under_load_is_about_as_long_as_its_bound(log: MemoryLog) -> None:
    add(log, *[b"123456789"] * 10)
    assert Reader(log, span_bytes=30).read() == [
        "tick 1000000",
        "events 0-30",
        "events 30-60",
        "events 60-90",
        "events 90-100",
    ]


def test_a_log_that_is_away_is_waited_for_and_nothing_is_lost(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    add(log, b"1")
    log.down = True
    assert reader.later(1_000).read() == []
    log.down = False
    assert reader.read() == []
    assert reader.later(10_000).read() == ["tick 1011000", "events 0-2"]
    assert len(log.records(ORDER, HERE)) == 2


class HalfDeafLog(MemoryLog):
    """Takes entries and says that it did not, `deaf` times."""

    deaf = 0

    def append(self, topic: str, *args: object, **kwargs: object) -> int:
        end = super().append(topic, *args, **kwargs)  # type: ignore[arg-type]
        if topic == ORDER and self.deaf > 0:
            self.deaf -= 1
            self.down = True
            try:
                self._must_be_up()
            finally:
                self.down = False
        return end


def test_an_entry_that_the_log_took_without_saying_so_is_followed_like_any_other() -> None:
    log = HalfDeafLog(PARTITIONS)
    define(log, AT_HOME)
    add(log, b"1")
    log.deaf = 1
    reader = Reader(log)
    assert reader.read() == []
    first = reader.later(100).read() + reader.later(1_000).read()
    assert first == [f"tick 1000000 [{AT_HOME} v1]", f"tick 1000100 [{AT_HOME} v1]", "events 0-2", "tick 1001100"]
    assert Reader(log, journals=False).read(20) == first


def test_events_that_retention_took_are_counted_and_jumped_over(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    add(log, b"1", b"2", b"3")
    log.drop_before(EVENTS, HERE, 4)
    assert reader.read() == ["events 4-6"]
    assert reader.meter.registry.get_sample_value("penstock_flow_offsets_gone_total", {"topic": EVENTS}) == 1


def test_when_retention_took_entries_control_records_come_from_the_control_topic(log: MemoryLog) -> None:
    define(log, AT_HOME)
    reader = Reader(log)
    reader.read()
    kept_from = log.end(ORDER, HERE)
    reader.later(1_000).read()
    log.drop_before(ORDER, HERE, kept_from)
    assert Reader(log, journals=False).read() == [f"tick 1000999 [{AT_HOME} v1]", "tick 1001000"]


def test_a_recovery_store_of_another_log_is_refused(log: MemoryLog) -> None:
    class EmptyLog(MemoryLog):
        def read(self, topic: str, partition: int, offset: int, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
            from schemas.log import OffsetGoneError

            raise OffsetGoneError(topic, partition, offset, 0)

    with pytest.raises(LogBehindError, match="run `penstock flow --rewind`"):
        Reader(EmptyLog(PARTITIONS), Place(500, 0, 0, 999_999_000), journals=False).read()


@pytest.mark.parametrize("topic", [EVENTS, ORDER, CONTROL])
def test_a_log_that_lost_its_end_is_told_in_one_sentence_and_not_gone_on_from(log: MemoryLog, topic: str) -> None:
    define(log, AT_HOME)
    add(log, b"1")
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()
    log.cut(topic, 0 if topic == CONTROL else HERE)
    with pytest.raises(LogBehindError, match=f"{topic}/. ends at offset 0") as told:
        Reader(log, place).read()
    assert "\n" not in str(told.value)


def test_control_records_that_would_outgrow_a_message_are_spread_over_entries(log: MemoryLog) -> None:
    for version in range(1, 6):
        define(log, AT_HOME, version=version, name="n" * 100_000)
    assert Reader(log).read() == [
        f"tick 1000000 [{AT_HOME} v1, {AT_HOME} v2]",
        f"tick 1000001 [{AT_HOME} v3, {AT_HOME} v4]",
        f"tick 1000002 [{AT_HOME} v5]",
    ]


BROKEN = [
    pytest.param(b"{}", id="another shape"),
    pytest.param(b"\0" * 512, id="a page of zeros"),
    pytest.param(b'{"offset":4,"now_ms":10', id="half a record"),
    pytest.param(b'{"offset":0,"now_ms":1,"control":[{"kind":"campaign","key":"\xff"}]}', id="no UTF-8"),
    pytest.param(b'{"offset":0,"now_ms":1,"x":' + b"[" * 100_000, id="nested without end"),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_record_of_the_control_topic_that_is_none_is_left_out(log: MemoryLog, broken: bytes) -> None:
    log.append(CONTROL, 0, [broken])
    define(log, AT_HOME)
    assert Reader(log).read() == [f"tick 1000000 [{AT_HOME} v1]"]


@pytest.mark.parametrize("broken", BROKEN)
def test_an_entry_that_cannot_be_read_is_left_out_and_what_it_brought_comes_with_the_next(
    log: MemoryLog, broken: bytes
) -> None:
    define(log, AT_HOME)
    add(log, b"1")
    log.append(ORDER, HERE, [broken])
    reader = Reader(log)
    first = reader.read()
    assert first == [f"tick 1000000 [{AT_HOME} v1]", "events 0-2"]
    assert reader.meter.registry.get_sample_value("penstock_flow_bad_records_total", {"topic": ORDER}) == 1
    assert Reader(log, journals=False).read() == first


def test_an_entry_that_turns_unreadable_while_the_flow_runs_loses_no_definition(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()
    define(log, AT_HOME)
    reader.later(500).read()
    log.spoil(ORDER, HERE)
    resumed = Reader(log, place)
    assert resumed.later(2_000).read() == [f"tick 1002000 [{AT_HOME} v1]"]


def test_a_clock_that_goes_back_never_takes_the_log_clock_along(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    reader.clock.set_back_ms = 60_000
    define(log, AT_HOME)
    assert reader.later(500).read() == [f"tick 1000500 [{AT_HOME} v1]"]


def test_a_bounded_source_ends_at_the_end_that_the_log_had(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log, ends=True)
    assert reader.read(2) == ["tick 1000000", "events 0-2"]
    with pytest.raises(StopIteration):
        reader.read()


def test_told_to_stop_it_ends_at_once(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    reader.stopping = True
    with pytest.raises(StopIteration):
        reader.part.next_batch()


def test_an_epoch_takes_no_more_than_its_bound(log: MemoryLog) -> None:
    add(log, *[b"123456789"] * 6)
    reader = Reader(log, span_bytes=20, epoch_bytes_max=40)
    assert reader.read() == ["tick 1000000", "events 0-20", "events 20-40"]
    reader.part.snapshot()
    assert reader.read() == ["events 40-60"]


def test_what_an_earlier_snapshot_holds_is_committed_for_lag_reports(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    reader.read()
    reader.part.snapshot()
    assert log.committed("flow", EVENTS, HERE) is None
    reader.part.snapshot()
    assert log.committed("flow", EVENTS, HERE) == 2


def test_each_epoch_begins_with_something_for_every_shard_whatever_the_log_does(log: MemoryLog) -> None:
    """What an epoch does not touch is not in its snapshot; a killed run's snapshot of that epoch would stand for it."""
    reader = Reader(log, touches=True)
    log.down = True
    assert reader.read() == ["nudge"]
    reader.part.snapshot()
    assert reader.read() == ["nudge"]
    log.down = False
    reader.part.snapshot()
    assert reader.later(10_000).read() == ["nudge", "tick 1010000"]
