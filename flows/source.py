"""Where the dataflow begins: partitions of `events`, with control records and clock ticks in one written order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bytewax.inputs import FixedPartitionedSource

from flows.clock import Clock, Pace
from flows.metrics import Meter
from flows.partition import EventsPartition
from flows.place import SPAN_BYTES, Item, Place, SourceOptions, Span, nothing
from schemas.log import Log
from schemas.topics import EVENTS

# The wait between looks at an idle partition, and between small spans, so that a trickle is not all overhead.
IDLE_S: Final = 0.005

__all__ = ["IDLE_S", "SPAN_BYTES", "EventsPartition", "EventsSource", "Item", "Place", "SourceOptions", "Span"]


class EventsSource(FixedPartitionedSource[Item, Place]):
    """Partitions of `events`; every worker can read every partition, Bytewax gives each to one."""

    def __init__(
        self,
        log: Log,
        clock: Clock,
        meter: Meter,
        options: SourceOptions,
        stopping: Callable[[], bool],
        pace: Pace | None = None,
        renew: Callable[[], None] = nothing,
        room: Callable[[], None] = nothing,
        seed: Mapping[int, Place] | None = None,
    ) -> None:
        """`pace` keeps idle partitions waiting; `renew` asks for the dataflow to be ended and begun anew; `room` waits
        until a snapshot can be written; `seed` has the places to begin at while there is no snapshot."""
        self._log = log
        self._clock = clock
        self._meter = meter
        self._options = options
        self._stopping = stopping
        self._pace = pace
        self._renew = renew
        self._room = room
        self._seed = seed or {}
        self._partitions = log.partitions(EVENTS)

    def list_parts(self) -> list[str]:
        """The numbers of the partitions."""
        return [str(partition) for partition in range(self._partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: Place | None) -> EventsPartition:
        """The partition from where the snapshot left it, else from its beginning."""
        return EventsPartition(
            self._log,
            int(for_part),
            self._partitions,
            self._seed.get(int(for_part)) if resume_state is None else resume_state,
            self._clock,
            self._meter,
            self._options,
            self._stopping,
            self._pace,
            self._renew,
            self._room,
        )
