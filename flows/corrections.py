"""Corrections that arrive for one partition, on their way into its journal."""

from __future__ import annotations

import logging
from typing import Final

from msgspec import UnsetType

from flows.cut import records_with_ends
from flows.metrics import Meter
from flows.order import Arrived
from flows.place import LogBehindError
from schemas.control import OrderEntry
from schemas.corrections import Correction, decode_correction
from schemas.log import Log, LogUnavailableError, OffsetGoneError
from schemas.topics import CORRECTIONS, partition_of
from schemas.unreadable import UNREADABLE

# Of one entry, and there is one a second. A correction takes a campaign shard some 50 us: an import of any size holds
# the events of others up by 25 ms a second, and 100,000 lines for one partition are through in 200 s.
ENTRY_CORRECTIONS_MAX: Final = 500
ENTRY_BYTES_MAX: Final = 256 * 1024
# While the topic cannot be read (it was not made yet, after an upgrade) nothing else waits for it.
_RETRY_S: Final = 30.0

_log = logging.getLogger(__name__)


class CorrectionsReader:
    """Corrections whose campaign lives in this partition, in the order of its part of topic `corrections`."""

    def __init__(self, log: Log, partition: int, partitions: int, offset: int, meter: Meter) -> None:
        """`offset` below 0 stands for the begin of the topic."""
        self._log = log
        self._partition = partition
        self._partitions = partitions
        self._meter = meter
        # Behind everything that is in entries, or is left out for good.
        self.offset = offset
        self._retry_at_s = 0.0
        # An entry could not be read, or is gone: what it brought comes again, and is known by its id where it had come.
        self._reads_again = False
        self._end = 0

    def follow(self, entry: OrderEntry) -> None:
        """Be behind what an entry brought into force."""
        if not isinstance(entry.corrections_next, UnsetType) and not self._reads_again:
            self.offset = max(self.offset, entry.corrections_next)

    def read_again(self) -> None:
        """An entry is missing: go on from here, whatever later entries brought."""
        self._reads_again = True

    def waits(self) -> bool:
        """Whether there are some that no entry has, as of the last look at the end of the topic."""
        return max(self.offset, 0) < self._end

    def arrived(self, now_s: float) -> Arrived:
        """The next ones, as many as go into an entry, and the offset behind them; the reader stays where it is."""
        if now_s < self._retry_at_s:
            return Arrived([], self.offset)
        try:
            found = self._read()
        except LogUnavailableError as error:
            self._retry_at_s = now_s + _RETRY_S
            _log.warning("partition %d goes on without corrections for now: %s", self._partition, error)
            return Arrived([], self.offset)
        if not found.corrections:
            self.offset = found.behind
        return found

    def _read(self) -> Arrived:
        log, partition = self._log, self._partition
        self._end = log.end(CORRECTIONS, partition)
        if self.offset < 0:
            self.offset = log.begin(CORRECTIONS, partition)
        try:
            chunk = log.read(CORRECTIONS, partition, self.offset, ENTRY_BYTES_MAX) if self.waits() else None
        except OffsetGoneError as gone:
            self._gone(gone)
            return Arrived([], self.offset)
        if chunk is None:
            self._must_hold()
            return Arrived([], self.offset)
        found: list[Correction] = []
        for record, end in records_with_ends(chunk):
            correction = self._correction(record, end)
            if correction is not None:
                found.append(correction)
            if len(found) == ENTRY_CORRECTIONS_MAX:
                return Arrived(found, end)
        return Arrived(found, chunk.next_offset)

    def _correction(self, record: bytes, end: int) -> Correction | None:
        where = f"{CORRECTIONS}/{self._partition}"
        try:
            correction = decode_correction(record)
        except UNREADABLE as error:
            self._meter.bad_records.labels(CORRECTIONS).inc()
            _log.error("%s: a record of %d bytes before offset %d is left out: %s", where, len(record), end, error)
            return None
        home = partition_of(correction.campaign_id, self._partitions)
        if home != self._partition:
            self._meter.corrected("foreign")
            _log.error(
                "%s: correction %s is left out: campaign %s has its home in partition %d",
                where,
                correction.correction_id,
                correction.campaign_id,
                home,
            )
            return None
        return correction

    def _gone(self, gone: OffsetGoneError) -> None:
        """Retention may take what was not read in time."""
        if gone.begin <= self.offset:
            raise LogBehindError(CORRECTIONS, self._partition, self._end, self.offset) from gone
        self._meter.offsets_gone.labels(CORRECTIONS).inc()
        _log.error("LOST to retention: %s; corrections go on at %d", gone, gone.begin)
        self.offset = gone.begin

    def _must_hold(self) -> None:
        """A topic with an end before what entries brought has lost it; one that is empty was not copied along."""
        if self._end < self.offset:
            if self._end > 0:
                raise LogBehindError(CORRECTIONS, self._partition, self._end, self.offset)
            self.offset = 0
