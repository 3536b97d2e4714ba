"""What a campaign shard knows of ids it has seen: one memory for each home partition.

A campaign's events come in its home partition, so each memory is given its events in the order of one log, and a replay
finds the same duplicates, also those at the edge of what is remembered. An event that came in another partition is
looked up where its campaign is at home.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns.dedupe import Fingerprints, SeenIds
from flows.logic.routing import Homes
from schemas.batch import EventBatch, SeriesColumns
from schemas.decode.words import SPREAD

# Organisations whose events have a memory of their own, some 20 KiB each at least; later ones share the last.
ORGANISATIONS_MAX: Final = 1_024
_ORGANISATIONS: Final = 2

# By home partition: organisations, and the ids of each.
Snapshot = dict[int, tuple[list[str], list[Fingerprints]]]


class Memory:
    """The ids of one home partition, by organisation in the order in which they came."""

    def __init__(self, seen: SeenIds, organisations: list[str] | None = None) -> None:
        self.seen = seen
        self._numbers = {org_id: number for number, org_id in enumerate(organisations or [])}
        self._series = SeriesColumns.empty()
        self._of_code = np.empty(0, np.int32)

    @property
    def organisations(self) -> list[str]:
        """Their ids, in the order of their numbers."""
        return list(self._numbers)

    def mark_new(self, batch: EventBatch) -> NDArray[np.bool_]:
        """True for rows whose event was not seen; remembers them."""
        return self.seen.mark_new(batch.event_hash, self._owners(batch))

    def _owners(self, batch: EventBatch) -> NDArray[np.int32] | None:
        """The number of each row's organisation; None where all are of number 0."""
        series = batch.series
        if series is not self._series:
            self._series, self._of_code = series, np.empty(0, np.int32)
        if len(self._of_code) < len(series.organisations):
            more = np.full(len(series.organisations) - len(self._of_code), -1, np.int32)
            self._of_code = np.concatenate([self._of_code, more])
        if len(self._numbers) == 1 and series.marks[_ORGANISATIONS] == 1 and self._of_code[0] == 0:
            return None
        codes = series.organisation_of(batch.series_code)
        numbers: NDArray[np.int32] = self._of_code[codes]
        if (numbers < 0).any():
            # In the order of rows, so that numbers do not hang on how the log was cut into spans.
            unknown, first = np.unique(codes[numbers < 0], return_index=True)
            for code in unknown[np.argsort(first)].tolist():
                self._of_code[code] = self._number(series.org_id(code))
            numbers = self._of_code[codes]
        return numbers if len(self._numbers) > 1 else None

    def _number(self, org_id: str) -> int:
        if org_id not in self._numbers and len(self._numbers) == ORGANISATIONS_MAX:
            return ORGANISATIONS_MAX - 1
        return self._numbers.setdefault(org_id, len(self._numbers))


class Duplicates:
    """Tells the first of an event from those that come again, of up to `ids_max` events in all partitions together."""

    def __init__(self, partitions: int, ids_max: int, spread: int = int(SPREAD)) -> None:
        self.partitions = partitions
        # Of each home partition.
        self.ids_max = max(1, ids_max // partitions)
        self.spread = spread
        self.memories: dict[int, Memory] = {}
        self._homes = Homes(partitions)

    def memory(self, home: int) -> Memory:
        """The memory of a home partition, made when it is new."""
        if home not in self.memories:
            self.memories[home] = Memory(SeenIds(self.ids_max, self.spread))
        return self.memories[home]

    def without(self, batch: EventBatch, partition: int) -> tuple[EventBatch, list[int]]:
        """The rows of a span of a partition whose events are new, and the positions of the others."""
        new = self._mark_new(batch, partition)
        if new.all():
            return batch, []
        return batch.take(new), batch.position[~new].tolist()

    def _mark_new(self, batch: EventBatch, partition: int) -> NDArray[np.bool_]:
        if self.partitions == 1:
            return self.memory(0).mark_new(batch)
        homes = self._homes.of(batch)
        if (homes == partition).all():
            return self.memory(partition).mark_new(batch)
        new = np.empty(len(batch), np.bool_)
        for home in np.unique(homes).tolist():
            rows = np.flatnonzero(homes == home)
            new[rows] = self.memory(home).mark_new(batch.take(rows))
        return new

    def snapshot(self) -> Snapshot:
        """All that is remembered, in copies."""
        return {
            home: (memory.organisations, [memory.seen.kept(number) for number in range(len(memory.seen.counts()))])
            for home, memory in self.memories.items()
        }

    def load(self, snapshot: Snapshot) -> None:
        """Remember what a snapshot holds."""
        for home, (organisations, kept) in snapshot.items():
            self.memories[home] = Memory(SeenIds.restore(kept, self.ids_max, self.spread), organisations)
