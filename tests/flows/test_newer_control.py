"""Control records that a newer version wrote: an older flow goes on without them, and the newer one finds them."""

from __future__ import annotations

import json

import pytest

from flows.order import OrderReader
from schemas.control import UnknownKindError, decode_control, decode_order, encode_control, encode_order
from schemas.topics import CONTROL, ORDER
from tests.support.flow_runs import define
from tests.support.memory_log import MemoryLog
from tests.support.source_reader import AT_HOME, HERE, PARTITIONS, Reader

FREEZE = json.dumps(
    {"kind": "freeze", "key": f"freeze/default/{AT_HOME}", "org_id": "default", "campaign_id": AT_HOME, "version": 1}
).encode()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(PARTITIONS)


def entry_with(log: MemoryLog, *more: bytes, now_ms: int = 1_000_000) -> bytes:
    """An order entry as a newer flow writes it: a definition, and records of other kinds."""
    known = encode_control(define(log, AT_HOME))
    return b'{"offset":0,"now_ms":%d,"control":[%s],"shape":2}' % (now_ms, b",".join([*more, known]))


def test_the_rest_of_an_entry_is_in_force_beside_a_record_of_an_unknown_kind(log: MemoryLog) -> None:
    log.append(ORDER, HERE, [entry_with(log, FREEZE)])
    order = OrderReader(log, HERE, 0)
    entry = order.peek()
    assert entry is not None
    assert [(record.campaign_id, record.version) for record in entry.control] == [(AT_HOME, 1)]
    assert (order.skipped, order.unreadable) == (1, 0)


def test_what_was_skipped_stays_in_the_log_as_it_is(log: MemoryLog) -> None:
    written = entry_with(log, FREEZE)
    log.append(ORDER, HERE, [written])
    log.append(CONTROL, 0, [FREEZE])
    Reader(log).read()
    assert log.records(ORDER, HERE)[0] == written
    assert log.records(CONTROL)[-1] == FREEZE


def test_a_known_record_with_fields_of_a_newer_version_is_in_force(log: MemoryLog) -> None:
    newer = json.loads(encode_control(define(log, AT_HOME, version=2))) | {"approved_by": "ana"}
    log.append(ORDER, HERE, [entry_with(log, json.dumps(newer).encode())])
    assert Reader(log).read(1) == [f"tick 1000000 [{AT_HOME} v2, {AT_HOME} v1]"]


def test_the_flow_goes_on_by_such_an_entry_and_the_next_run_looks_for_what_it_left(log: MemoryLog) -> None:
    log.append(ORDER, HERE, [entry_with(log, FREEZE)])
    log.append(CONTROL, 0, [FREEZE])
    reader = Reader(log)
    assert reader.read(1) == [f"tick 1000000 [{AT_HOME} v1]"]
    place = reader.part.snapshot()
    assert place.control == 0, "a newer version reads it there"
    resumed = Reader(log, place)
    assert resumed.later(1_000).read(2) == [f"tick 1001000 [{AT_HOME} v1]"], "a version that came before has no effect"


def test_a_record_of_an_unknown_kind_in_topic_control_is_read_again_by_the_next_run_and_only_then(
    log: MemoryLog,
) -> None:
    define(log, AT_HOME)
    at = log.end(CONTROL, 0)
    log.append(CONTROL, 0, [FREEZE])
    define(log, AT_HOME, version=2)
    reader = Reader(log)
    assert reader.read(1) == [f"tick 1000000 [{AT_HOME} v1, {AT_HOME} v2]"]
    assert reader.part.snapshot().control <= at
    assert reader.later(1_000).read(1) == ["tick 1001000"], "this run does not read it twice"
    bad = reader.meter.registry.get_sample_value("penstock_flow_bad_records_total", {"topic": CONTROL})
    assert not bad, "it is no bad record"


def test_an_unknown_kind_is_told_from_a_broken_record() -> None:
    with pytest.raises(UnknownKindError, match="'freeze'"):
        decode_control(FREEZE)
    with pytest.raises(ValueError, match="missing required field") as broken:
        decode_control(b'{"kind":"campaign","key":"k"}')
    assert not isinstance(broken.value, UnknownKindError)


def test_an_entry_with_a_broken_record_of_a_known_kind_is_no_entry(log: MemoryLog) -> None:
    with pytest.raises(ValueError, match="missing required field"):
        decode_order(entry_with(log, b'{"kind":"campaign","key":"k"}'))


def test_an_entry_that_is_wholly_known_is_written_as_it_was_read(log: MemoryLog) -> None:
    define(log, AT_HOME)
    Reader(log).read()
    (written,) = log.records(ORDER, HERE)[:1]
    assert encode_order(decode_order(written)) == written
