"""How far an earlier run of the flow was seen to act: no new entry of the journal may come before that.

An entry is written before the events behind it are read. A flow that is killed has acted on events behind its last
entry, for up to a second; were the next run to put its first entry before those, it would decide them anew under
another clock and other definitions, beside decisions that are out already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.kpis import Verdicts
from schemas.log import Log, OffsetGoneError
from schemas.topics import DECISIONS, EVENTS, VERDICTS
from schemas.unreadable import UNREADABLE

_READ_BYTES: Final = 4 * 2**20
_READ_S: Final = 2.0
# What the log says is there may take a while to come: a broker's first answer to a new reader, on a busy machine. What
# never comes (a broker's own marks are no records) does not hold the flow up for longer.
_COMES_WITHIN_READS: Final = 15
_CAUSE: Final = re.compile(rb'"cause_event":"' + EVENTS.encode() + rb'/(\d+)@(\d+)"')

_verdicts: Final = msgspec.json.Decoder(Verdicts)


def output_ends(log: Log) -> tuple[int, int]:
    """Ends of the topics that say what was acted on."""
    return log.end(DECISIONS, 0), log.end(VERDICTS, 0)


def acted_up_to(log: Log, partition: int, since: tuple[int, int]) -> int:
    """The offset of `events` behind the last event of the partition that outputs from `since` on are about; else 0."""
    acted = 0
    for record in _records(log, DECISIONS, since[0]):
        cause = _CAUSE.search(record)
        if cause is not None and int(cause[1]) == partition:
            acted = max(acted, int(cause[2]) + 1)
    for record in _records(log, VERDICTS, since[1]):
        try:
            verdicts = _verdicts.decode(record)
        except UNREADABLE:
            continue
        if verdicts.partition == partition:
            acted = max(acted, verdicts.next_offset)
    return min(acted, log.end(EVENTS, partition))


def _records(log: Log, topic: str, offset: int) -> Iterator[bytes]:
    offset, end = max(offset, log.begin(topic, 0)), log.end(topic, 0)
    nothing = 0
    while offset < end and nothing < _COMES_WITHIN_READS:
        try:
            chunk = log.read(topic, 0, offset, _READ_BYTES, _READ_S)
        except OffsetGoneError as gone:
            if gone.begin <= offset:
                return
            offset = gone.begin
            continue
        if chunk is None:
            nothing += 1
            continue
        nothing = 0
        yield from chunk.records()
        offset = chunk.next_offset
