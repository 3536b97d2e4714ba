"""What a partition's reader is told, hands on, and keeps in a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from flows.logic.step import Step
from schemas.log import Chunk, Log
from schemas.topics import CONTROL, EVENTS, ORDER

# A span under load: large enough that Python's cost for a span vanishes, small enough for a decision in milliseconds.
SPAN_BYTES: Final = 2 * 2**20


def nothing() -> None:
    """Nobody is told."""


class LogBehindError(Exception):
    """The log ends before the snapshot that the flow goes on from: its end was lost, or it is an older copy."""

    def __init__(self, topic: str, partition: int, end: int, offset: int) -> None:
        super().__init__(
            f"{topic}/{partition} ends at offset {end}, but the flow's state was made from what came up to {offset}: "
            "the log has lost its end. Bring the whole log back, or run `penstock flow --rewind`: the state is put "
            "aside, and the next start makes it anew from all that the log still holds, with the same decisions"
        )


class Place(NamedTuple):
    """What a snapshot keeps of a partition: the next offset of each topic, and the log clock."""

    events: int
    order: int
    control: int
    now_ms: int
    # The highest time that a clock showed so far, also one that was not believed.
    latest_ms: int = 0
    # Ends of the topics that say what was acted on, at a time when nobody had acted on what comes behind `events`.
    outputs: tuple[int, ...] = ()
    # The next offset of topic `corrections`; below 0, as in snapshots of before there was one: from its begin.
    corrections: int = -1


def must_hold(log: Log, number: int, place: Place) -> None:
    """Raise LogBehindError where the log ends before what a partition's snapshot was made from."""
    known = ((EVENTS, number, place.events), (ORDER, number, place.order), (CONTROL, 0, place.control))
    for topic, partition, offset in known:
        end = log.end(topic, partition)
        if end < offset:
            raise LogBehindError(topic, partition, end, offset)


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive events of a partition between two control points."""

    chunk: Chunk
    now_ms: int
    read_ms: int
    # Events may be ahead of this by as much as a sender's clock may be wrong.
    latest_ms: int


Item = Span | Step


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source reads."""

    span_bytes: int = SPAN_BYTES
    # True: it is done at the end that the log had at the start. False: it waits for more.
    ends: bool = False
    # False: it follows the journal that is there and writes no entries of its own, as a replay does.
    journals: bool = True
    # Bytes of one partition in one epoch. Between processes an epoch is what backpressure works by, so this bounds
    # the memory of a process that is slower than its peers; None for a single process, where each span is worked
    # through before the next is read.
    epoch_bytes_max: int | None = None
    # True: each epoch begins with an empty step for every shard, so that all of them are in its snapshot. Bytewax keeps
    # a snapshot only of what was touched, and never drops one of an epoch that was not closed when the flow was killed:
    # the next run would count that epoch anew, and leave the old snapshot of a shard it did not touch to the run after.
    touches: bool = False
    # An epoch that lasts longer than this hangs on a wall clock that was set back; None: nobody looks.
    epoch_s_max: float | None = None
