"""After a kill: no entry of the journal comes before events that an earlier run acted on."""

from __future__ import annotations

import msgspec
import pytest

from schemas.dead_letters import Reject, dead_letter
from schemas.kpis import Verdicts
from schemas.topics import DEAD_LETTERS, EVENTS, VERDICTS
from tests.support.flow_runs import define
from tests.support.memory_log import MemoryLog
from tests.support.source_reader import AT_HOME, HERE, PARTITIONS, Reader, add


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


def test_after_a_kill_no_entry_comes_before_events_that_were_acted_on(log: MemoryLog) -> None:
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()
    add(log, b"1", b"2", b"3")
    reader.read()
    verdicts = Verdicts(partition=HERE, first_offset=0, next_offset=4)
    log.append(VERDICTS, 0, [msgspec.json.encode(verdicts)])
    define(log, AT_HOME)
    assert Reader(log, place).later(5_000).read() == [
        "events 0-4",
        f"tick 1005000 [{AT_HOME} v1]",
        "events 4-6",
    ]


def test_what_was_acted_on_before_the_last_kill_but_one_is_still_waited_for(log: MemoryLog) -> None:
    """The second run takes a snapshot, and is killed before it came to where the first one was."""
    first = Reader(log)
    first.read()
    place = first.part.snapshot()
    add(log, b"1", b"2", b"3")
    first.read()
    log.append(VERDICTS, 0, [msgspec.json.encode(Verdicts(partition=HERE, first_offset=0, next_offset=6))])
    second = Reader(log, place, span_bytes=2)
    assert second.read(1) == ["events 0-2"]
    place = second.part.snapshot()
    define(log, AT_HOME)
    assert Reader(log, place).later(5_000).read() == ["events 2-6", f"tick 1005000 [{AT_HOME} v1]"]


def test_a_snapshot_taken_before_the_log_was_read_forgets_nothing_that_was_acted_on(log: MemoryLog) -> None:
    """An epoch ends while the log is away, or before the partition was looked at for the first time."""
    first = Reader(log)
    first.read()
    place = first.part.snapshot()
    add(log, b"1", b"2")
    first.read()
    log.append(VERDICTS, 0, [msgspec.json.encode(Verdicts(partition=HERE, first_offset=0, next_offset=4))])
    place = Reader(log, place).part.snapshot()
    assert Reader(log, place).later(5_000).read() == ["events 0-4", "tick 1005000"]


def test_what_the_log_shows_only_after_the_next_run_has_begun_counts_as_acted_on(log: MemoryLog) -> None:
    """A broker takes in the last outputs of a run that was killed while the next one follows the journal."""
    first = Reader(log)
    first.read()
    add(log, b"1", b"2")
    first.read()
    second = Reader(log)
    assert second.read(1) == ["tick 1000000"]
    log.append(VERDICTS, 0, [msgspec.json.encode(Verdicts(partition=HERE, first_offset=0, next_offset=4))])
    define(log, AT_HOME)
    assert second.later(5_000).read() == ["events 0-4", f"tick 1005000 [{AT_HOME} v1]"]


def test_an_event_that_was_refused_was_acted_on(log: MemoryLog) -> None:
    """By a later clock it might not be refused: a time that was in the future is none then."""
    first = Reader(log)
    first.read()
    place = first.part.snapshot()
    add(log, b"1", b"2", b"3")
    first.read()
    letter = dead_letter(b"2", Reject.TS_IN_FUTURE, "ts", "", source=f"{EVENTS}/{HERE}@2", org_id="o", ts_ms=0)
    elsewhere = dead_letter(b"2", Reject.TS_IN_FUTURE, "ts", "", source=f"{EVENTS}/0@4", org_id="o", ts_ms=0)
    log.append(DEAD_LETTERS, 0, [msgspec.json.encode(letter), msgspec.json.encode(elsewhere)])
    resumed = Reader(log, place, span_bytes=2).later(5_000)
    assert resumed.read(3) == ["events 0-2", "events 2-4", "tick 1005000"]


def test_a_snapshot_of_an_older_version_knows_fewer_ends(log: MemoryLog) -> None:
    add(log, b"1")
    reader = Reader(log)
    reader.read()
    place = reader.part.snapshot()._replace(outputs=(0, 0))
    assert Reader(log, place).later(5_000).read() == ["tick 1005000"]
