"""What every log promises, held against the local log and against Apache Kafka."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from ingest.kafka_topics import ensure_topics
from schemas.log import Log, OffsetGoneError
from schemas.topics import CONTROL, DECISIONS, EVENTS, LIVE, ORDER
from tests.support.logs import LogPlace, all_records, start_appender


@pytest.fixture(params=["local", "kafka"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LogPlace:
    if request.param == "local":
        return LogPlace("local", str(tmp_path / "log"))
    bootstrap = request.getfixturevalue("kafka_bootstrap")
    prefix = request.getfixturevalue("kafka_prefix")
    ensure_topics(bootstrap, 2, prefix=prefix)
    return LogPlace("kafka", bootstrap, prefix)


@pytest.fixture
def log(place: LogPlace) -> Iterator[Log]:
    opened = place.open()
    yield opened
    opened.close()


def numbered(first: int, count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(first, first + count)]


def test_an_empty_partition_begins_and_ends_at_zero_and_has_nothing_to_read(log: Log) -> None:
    assert (log.begin(EVENTS, 1), log.end(EVENTS, 1)) == (0, 0)
    assert log.read(EVENTS, 1, 0, 1_000) is None


def test_records_come_back_in_the_order_of_their_appends(log: Log) -> None:
    for first in range(0, 1_000, 100):
        log.append(EVENTS, 0, numbered(first, 100))
    assert all_records(log, EVENTS, 0) == numbered(0, 1_000)


def test_append_returns_the_end(log: Log) -> None:
    ends = [log.append(EVENTS, 0, numbered(first, 10)) for first in range(0, 50, 10)]
    assert ends == sorted(set(ends))
    assert ends[-1] == log.end(EVENTS, 0)
    assert log.append(EVENTS, 0, []) == ends[-1]


def test_reading_resumes_at_the_offset_behind_any_chunk(log: Log) -> None:
    log.append(EVENTS, 0, numbered(0, 1_000))
    offset, end, left = 0, log.end(EVENTS, 0), numbered(0, 1_000)
    while offset < end:
        chunk = log.read(EVENTS, 0, offset, 3_000, timeout_s=10.0)
        assert chunk is not None
        assert chunk.first_offset == offset
        left = left[len(chunk.records()) :]
        offset = chunk.next_offset
        assert all_records(log, EVENTS, 0, offset=offset) == left
    assert left == []


def test_every_record_can_be_read_from_its_own_offset(log: Log) -> None:
    log.append(EVENTS, 0, numbered(0, 50))
    chunk = log.read(EVENTS, 0, 0, 1 << 20, timeout_s=10.0)
    assert chunk is not None
    offsets = chunk.offsets.tolist() if chunk.offsets is not None else _byte_offsets(chunk.records())
    for offset, record in zip(offsets, chunk.records(), strict=True):
        again = log.read(EVENTS, 0, offset, 1, timeout_s=10.0)
        assert again is not None
        assert again.records() == [record]


def _byte_offsets(records: list[bytes]) -> list[int]:
    ends = [0]
    for record in records:
        ends.append(ends[-1] + len(record) + 1)
    return ends[:-1]


@pytest.mark.parametrize("max_bytes", [100, 1_000, 100_000])
def test_a_chunk_is_no_larger_than_asked_for(log: Log, max_bytes: int) -> None:
    log.append(EVENTS, 0, [b"x" * 49] * 500)
    chunk = log.read(EVENTS, 0, 0, max_bytes, timeout_s=10.0)
    assert chunk is not None
    assert 50 <= len(chunk.payload) <= max_bytes


def test_a_record_larger_than_asked_for_comes_whole_and_alone(log: Log) -> None:
    log.append(EVENTS, 0, [b"x" * 100_000, b"y"])
    chunk = log.read(EVENTS, 0, 0, 10, timeout_s=10.0)
    assert chunk is not None
    assert chunk.records() == [b"x" * 100_000]


def test_a_reader_at_the_end_gets_what_is_appended_while_it_waits(log: Log) -> None:
    end = log.append(EVENTS, 0, numbered(0, 5))
    found: Queue[list[bytes]] = Queue()

    def wait() -> None:
        chunk = log.read(EVENTS, 0, end, 1_000, timeout_s=20.0)
        found.put(chunk.records() if chunk is not None else [])

    reader = threading.Thread(target=wait)
    reader.start()
    log.append(EVENTS, 0, numbered(5, 1))
    reader.join()
    assert found.get_nowait() == numbered(5, 1)


def test_a_reader_at_the_end_gets_nothing_in_time(log: Log) -> None:
    end = log.append(EVENTS, 0, numbered(0, 5))
    assert log.read(EVENTS, 0, end, 1_000, timeout_s=0.05) is None


def test_an_offset_behind_the_end_is_refused(log: Log) -> None:
    end = log.append(EVENTS, 0, numbered(0, 5))
    with pytest.raises(OffsetGoneError) as refused:
        log.read(EVENTS, 0, end + 1_000, 1_000, timeout_s=10.0)
    assert refused.value.begin == 0


def test_partitions_are_apart(log: Log) -> None:
    log.append(EVENTS, 0, [b"zero"])
    log.append(EVENTS, 1, [b"one"])
    assert (all_records(log, EVENTS, 0), all_records(log, EVENTS, 1)) == ([b"zero"], [b"one"])


@pytest.mark.parametrize(("topic", "count"), [(EVENTS, 2), (ORDER, 2), (CONTROL, 1), (DECISIONS, 1), (LIVE, 1)])
def test_events_and_their_order_are_partitioned_and_nothing_else(log: Log, topic: str, count: int) -> None:
    assert log.partitions(topic) == count


def test_a_record_with_a_newline_is_refused_and_nothing_of_its_batch_is_written(log: Log) -> None:
    with pytest.raises(ValueError, match="newline"):
        log.append(EVENTS, 0, [b"good", b"two\nlines"])
    assert log.end(EVENTS, 0) == 0


def test_keyed_records_come_back_without_their_keys(log: Log) -> None:
    log.append(CONTROL, 0, [b'{"key":"a"}', b'{"key":"b"}'], keys=["a", "b"])
    assert all_records(log, CONTROL, 0) == [b'{"key":"a"}', b'{"key":"b"}']


def test_a_group_finds_its_offset_again_when_the_log_is_opened_anew(place: LogPlace, log: Log) -> None:
    log.append(EVENTS, 0, numbered(0, 10))
    assert log.committed("store", EVENTS, 0) is None
    log.commit("store", EVENTS, 0, 3)
    log.commit("store", EVENTS, 0, 7)
    log.commit("store", EVENTS, 1, 0)
    again = place.open()
    committed = [again.committed(group, EVENTS, number) for group in ("store", "api") for number in (0, 1)]
    again.close()
    assert committed == [7, 0, None, None]


def test_several_threads_read_one_partition_at_different_places(log: Log) -> None:
    log.append(EVENTS, 0, numbered(0, 2_000))
    found: Queue[list[bytes]] = Queue()
    readers = [threading.Thread(target=lambda: found.put(all_records(log, EVENTS, 0))) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [found.get_nowait() for _ in readers] == [numbered(0, 2_000)] * 4


def test_two_processes_append_to_one_partition_at_once(place: LogPlace, log: Log) -> None:
    appenders = [start_appender(place, EVENTS, 0, name=name, batches=30, size=20) for name in ("a", "b")]
    for appender in appenders:
        _, errors = appender.communicate(timeout=60)
        assert appender.returncode == 0, errors
    records = all_records(log, EVENTS, 0)
    for name in (b"a", b"b"):
        own = [record for record in records if record.startswith(name + b"-")]
        assert own == [b"%s-%d-%d" % (name, batch, number) for batch in range(30) for number in range(20)]
    assert len(records) == 2 * 30 * 20


@pytest.mark.parametrize("seed", range(3))
def test_nothing_acknowledged_is_lost_when_the_appender_is_killed(place: LogPlace, log: Log, seed: int) -> None:
    acknowledged = random.Random(seed).randint(1, 40)
    appender = start_appender(place, EVENTS, 0, name="a", batches=1_000_000, size=25)
    assert appender.stdout is not None
    for _ in range(acknowledged):
        assert appender.stdout.readline(), appender.stderr
    appender.kill()
    acknowledged += len(appender.communicate()[0].splitlines())

    log.append(EVENTS, 0, [b"after"])
    records = all_records(log, EVENTS, 0)
    assert records.pop() == b"after"
    assert records == [b"a-%d-%d" % divmod(number, 25) for number in range(len(records))]
    assert len(records) >= 25 * acknowledged
