"""Reads a topic of one partition from a place on; what retention removed is told, not stumbled over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from prometheus_client import Counter

from schemas.log import Chunk, Log, OffsetGoneError

READ_BYTES: Final = 1 << 20
# What the log says is there may take a while to come: a broker's first answer to a new reader, on a busy machine. What
# never comes (a broker's own marks are no records) does not hold the start up for longer than so many reads.
READ_WAIT_S: Final = 2.0
COMES_WITHIN_READS: Final = 15

# Records that were left out, by topic and reason: `unreadable` (its place is in the log of the process) or `senseless`
# (read, but without what its kind needs).
SKIPPED = Counter("penstock_actuate_skipped_records", "Records left out", ["topic", "reason"])
# Times that retention was faster than we were: decisions may be lost.
GAPS = Counter("penstock_actuate_gaps", "Ranges removed by retention before they were read", ["topic"])

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets that are gone. On Kafka each is a record, in the local log a byte."""

    topic: str
    start: int
    end: int


@dataclass(slots=True)
class Follower:
    """One reader. Not for several threads at once."""

    log: Log
    topic: str
    offset: int
    # Ranges found gone, to be taken by whoever reads.
    gaps: list[Gap] = field(default_factory=list)

    def next(self, wait_s: float = 0.0) -> Chunk | None:
        """The next records; None when there are none in time. Raises LogUnavailableError."""
        while True:
            try:
                chunk = self.log.read(self.topic, 0, self.offset, READ_BYTES, wait_s)
            except OffsetGoneError as gone:
                self.gaps.append(Gap(self.topic, self.offset, gone.begin))
                GAPS.labels(self.topic).inc()
                self.offset = max(self.offset + 1, gone.begin)
                continue
            if chunk is not None:
                self.offset = chunk.next_offset
            return chunk

    def to_end(self) -> Iterator[Chunk]:
        """All records up to where the log ends now, however long the first takes to come. Raises LogUnavailableError.

        That nothing comes does not say that there is nothing: a new reader of a broker has fetched nothing yet.
        """
        end, nothing = self.log.end(self.topic, 0), 0
        while self.offset < end and nothing < COMES_WITHIN_READS:
            chunk = self.next(READ_WAIT_S)
            if chunk is not None:
                yield chunk
            nothing = nothing + 1 if chunk is None else 0
        if self.offset < end:
            _log.warning("%s/0 gave nothing from %d to its end %d; taken as removed", self.topic, self.offset, end)


def readable(chunk: Chunk, decode: Any) -> Iterator[tuple[int, Any]]:
    """The records of a chunk with their offsets; one that `decode` cannot read is told with its place and left out."""
    offset = chunk.first_offset
    for index, record in enumerate(chunk.records()):
        if chunk.offsets is not None:
            offset = int(chunk.offsets[index])
        try:
            yield offset, decode(record)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            skip(chunk.topic, offset, "unreadable", error)
        offset += len(record) + 1


def skip(topic: str, offset: int, reason: str, error: Exception) -> None:
    """Note a record that was left out. The error's words are ours or msgspec's and hold no values of the record."""
    SKIPPED.labels(topic, reason).inc()
    told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    _log.warning(
        "%s/0 at offset %d: a record was left out (%s): %s", topic, offset, reason, told,
        extra={"topic": topic, "offset": offset, "reason": reason},
    )  # fmt: skip
