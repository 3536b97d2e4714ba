"""The journal of a partition's interleaving: topic `events.order`, followed and written."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import UNSET

from flows.cut import records_with_ends
from schemas.control import (
    ControlRecord,
    OrderEntry,
    UnknownKindError,
    decode_control,
    encode_control,
    encode_order,
    read_order,
)
from schemas.corrections import Correction
from schemas.log import Log, OffsetGoneError
from schemas.topics import CONTROL, ORDER, partition_of
from schemas.unreadable import UNREADABLE

# Entries are small: a quarter of an hour of ticks.
_READ_BYTES: Final = 256 * 1024
_CONTROL_READ_BYTES: Final = 1024 * 1024
# Control records of one entry; more go into further entries at the same place, so that no entry outgrows a message.
ENTRY_CONTROL_BYTES_MAX: Final = 256 * 1024
# Looking for control records costs a read; a campaign change may take this long to be seen.
CONTROL_POLL_S: Final = 0.02
# Reading `control` to its end: how long the log may take to hand over what it says is there.
_CONTROL_END_S: Final = 2.0

_log = logging.getLogger(__name__)
_SKIPPED: Final = (
    "%s: %d control records are of kinds that only a newer version knows: kept for it, without effect here"
)


class OrderReader:
    """Entries of a partition's order topic, one after another, up to an end that is known."""

    def __init__(self, log: Log, partition: int, offset: int) -> None:
        self._log = log
        self._partition = partition
        # Behind the last entry that was taken; behind the last one that was read.
        self.taken = offset
        self._read = offset
        self._ahead: deque[tuple[OrderEntry, int]] = deque()
        self.known_end = log.end(ORDER, partition)
        # Entries that could not be read and were left out, since somebody last looked.
        self.unreadable = 0
        # Control records of kinds that only a newer version knows, in entries that were read, since somebody looked.
        self.skipped = 0

    def at_end(self) -> bool:
        """True when every entry that is known of was taken."""
        return not self._ahead and self._read >= self.known_end

    def peek(self) -> OrderEntry | None:
        """The next entry; None when there is none, or the log has not handed it over yet. Raises OffsetGoneError."""
        while not self._ahead and self._read < self.known_end:
            chunk = self._log.read(ORDER, self._partition, self._read, _READ_BYTES)
            if chunk is None:
                return None
            self._read = chunk.next_offset
            for record, end in records_with_ends(chunk):
                self._keep(record, end)
        return self._ahead[0][0] if self._ahead else None

    def take(self) -> None:
        """Go on behind the entry that `peek` showed."""
        self.taken = self._ahead.popleft()[1]
        if not self._ahead:
            self.taken = self._read

    def jump(self, offset: int) -> None:
        """Go on at another offset, when retention removed what comes next."""
        self.taken = self._read = offset
        self._ahead.clear()

    def _keep(self, record: bytes, end: int) -> None:
        try:
            entry, skipped, skipped_corrections = read_order(record)
        except UNREADABLE as error:
            self.unreadable += 1
            where = f"{ORDER}/{self._partition}"
            _log.error("%s: the record of %d bytes before offset %d is no entry: %s", where, len(record), end, error)
            return
        if skipped:
            self.skipped += skipped
            _log.warning(_SKIPPED, ORDER, skipped)
        if skipped_corrections:
            _log.warning("%s: %d corrections that only a newer version knows are left out", ORDER, skipped_corrections)
        self._ahead.append((entry, end))


class ControlReader:
    """Control records whose campaign lives in this partition, in the order of topic `control`."""

    def __init__(self, log: Log, partition: int, partitions: int, offset: int) -> None:
        self._log = log
        self._partition = partition
        self._partitions = partitions
        self.offset = offset
        # Versions that entries of the journal brought already; reading `control` again must not journal them twice.
        self._followed: dict[str, int] = {}
        self.unreadable = 0
        self._due_s = 0.0
        # Where the first record stands of a kind that only a newer version knows.
        self._unknown_at: int | None = None

    @property
    def resume_at(self) -> int:
        """Where the next run is to read on: not behind a record that this version could not bring into force.

        So the first flow that knows its kind does; what it reads again is known by its version.
        """
        return self.offset if self._unknown_at is None else min(self.offset, self._unknown_at)

    def unknown_from(self, offset: int) -> None:
        """From here on there is a record of a kind that only a newer version knows."""
        self._unknown_at = offset if self._unknown_at is None else min(offset, self._unknown_at)

    def followed(self, records: Sequence[ControlRecord]) -> None:
        """Note what entries brought into force while following."""
        for record in records:
            self._followed[record.key] = max(record.version, self._followed.get(record.key, 0))

    def arrived(self, now_s: float, is_due: bool) -> tuple[list[ControlRecord], int]:
        """New records without waiting, and the offset behind them; the reader stays where it is until `advance`.

        Where none `is_due` it looks only now and then, and goes on behind records of campaigns of other partitions.
        """
        if now_s < self._due_s and not is_due:
            return [], self.offset
        self._due_s = now_s + CONTROL_POLL_S
        found, behind = self._read_from(self.offset, 0.0)
        if not found and behind != self.offset:
            self.advance(behind)
        return found, behind

    def to_end(self) -> tuple[list[ControlRecord], int]:
        """Every record up to the end of the topic as it is now, and the offset behind them."""
        end = self._log.end(CONTROL, 0)
        found: list[ControlRecord] = []
        offset = self.offset
        while offset < end:
            records, behind = self._read_from(offset, _CONTROL_END_S)
            if behind == offset:
                # What is left are deletions, which carry no record.
                break
            found += records
            offset = behind
        return found, offset

    def read_again(self) -> None:
        """Go back to the beginning of the topic; what is known is known by its version."""
        self.offset = self._log.begin(CONTROL, 0)

    def advance(self, offset: int) -> None:
        """Everything before `offset` is in the journal."""
        self.offset = offset
        self._followed.clear()

    def _read_from(self, offset: int, timeout_s: float) -> tuple[list[ControlRecord], int]:
        try:
            chunk = self._log.read(CONTROL, 0, offset, _CONTROL_READ_BYTES, timeout_s)
        except OffsetGoneError as gone:
            # Compaction removed it: every key's last record is still there, further on.
            if gone.begin == offset:
                raise
            return [], gone.begin
        if chunk is None:
            return [], offset
        records = [self._record(raw, offset) for raw in chunk.records()]
        return [record for record in records if record is not None and self._is_new(record)], chunk.next_offset

    def _record(self, raw: bytes, offset: int) -> ControlRecord | None:
        try:
            return decode_control(raw)
        except UnknownKindError:
            self.unknown_from(offset)
            _log.warning(_SKIPPED, CONTROL, 1)
            return None
        except UNREADABLE as error:
            self.unreadable += 1
            _log.error("%s: a record of %d bytes that is none of ours is left out: %s", CONTROL, len(raw), error)
            return None

    def _is_new(self, record: ControlRecord) -> bool:
        is_home = partition_of(record.campaign_id, self._partitions) == self._partition
        return is_home and record.version > self._followed.get(record.key, -1)


class Arrived(NamedTuple):
    """Corrections for an entry, and the offset in their topic behind them."""

    corrections: list[Correction]
    behind: int


NOTHING: Final = Arrived([], 0)


def entries_of(
    offset: int, now_ms: int, control: Sequence[ControlRecord], wall_ms: int = 0, arrived: Arrived = NOTHING
) -> list[bytes]:
    """The encoded entries that bring `control` and corrections into force before event `offset`.

    At least one: without records it is a tick. `now_ms` rises by one from entry to entry, since an entry that does
    not move the clock on is taken for a retry's copy. `wall_ms` goes along where it is ahead. Corrections go with the
    last entry.
    """
    wall = wall_ms if wall_ms > now_ms + len(control) else UNSET
    groups: list[list[ControlRecord]] = [[]]
    size = 0
    for record in control:
        length = len(encode_control(record))
        if groups[-1] and size + length > ENTRY_CONTROL_BYTES_MAX:
            groups.append([])
            size = 0
        groups[-1].append(record)
        size += length
    entries = [
        OrderEntry(offset=offset, now_ms=now_ms + place, control=group, wall_ms=wall)
        for place, group in enumerate(groups)
    ]
    entries[-1].corrections = arrived.corrections or UNSET
    entries[-1].corrections_next = arrived.behind if arrived.behind > 0 else UNSET
    return [encode_order(entry) for entry in entries]
