"""How far earlier runs of the flow were seen to act: no new entry of the journal may come before that.

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
from schemas.topics import DEAD_LETTERS, DECISIONS, EVENTS, VERDICTS
from schemas.unreadable import UNREADABLE

_READ_BYTES: Final = 4 * 2**20
_READ_S: Final = 2.0
# What the log says is there may take a while to come: a broker's first answer to a new reader, on a busy machine. What
# never comes (a broker's own marks are no records) does not hold the flow up for longer.
_COMES_WITHIN_READS: Final = 15
_PLACE: Final = EVENTS.encode() + rb'/(\d+)@(\d+)"'
_CAUSE: Final = re.compile(rb'"cause_event":"' + _PLACE)
_SOURCE: Final = re.compile(rb'"source":"' + _PLACE)

_verdicts: Final = msgspec.json.Decoder(Verdicts)

# Topics that say what was acted on.
_TOPICS: Final = (DECISIONS, VERDICTS, DEAD_LETTERS)
# Ends of these topics, in this order; a snapshot of an older version knows fewer.
Ends = tuple[int, ...]


def output_ends(log: Log) -> Ends:
    """Ends of the topics that say what was acted on."""
    return tuple(log.end(topic, 0) for topic in _TOPICS)


class Acted:
    """How far runs before this one acted on one partition, by what they wrote from `since` on."""

    def __init__(self, log: Log, partition: int, since: Ends) -> None:
        self._log = log
        self._partition = partition
        # Everything before was looked through.
        self.ends: Ends = (*since, *(0,) * len(_TOPICS))[: len(_TOPICS)]
        # The offset of `events` behind the last event that an output is about; 0: none.
        self.up_to = 0

    def look(self) -> int:
        """Look through outputs that were not seen yet; `up_to`. What this run wrote itself raises it to no more than
        it has read."""
        ends = output_ends(self._log)
        up_to = self.up_to
        for topic, since, end in zip(_TOPICS, self.ends, ends, strict=True):
            for record in _records(self._log, topic, since, end):
                up_to = max(up_to, self._behind(topic, record))
        self.ends = ends
        self.up_to = min(up_to, self._log.end(EVENTS, self._partition))
        return self.up_to

    def _behind(self, topic: str, record: bytes) -> int:
        """The offset behind the last event of the partition that a record is about; 0 when it is about none."""
        if topic == VERDICTS:
            try:
                verdicts = _verdicts.decode(record)
            except UNREADABLE:
                return 0
            return verdicts.next_offset if verdicts.partition == self._partition else 0
        place = (_CAUSE if topic == DECISIONS else _SOURCE).search(record)
        return int(place[2]) + 1 if place is not None and int(place[1]) == self._partition else 0


def _records(log: Log, topic: str, offset: int, end: int) -> Iterator[bytes]:
    offset = max(offset, log.begin(topic, 0)) if offset < end else end
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
