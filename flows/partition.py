"""One partition of `events` and its journal, read in the one order that is written down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bytewax.inputs import StatefulSourcePartition
from msgspec import UnsetType

from flows.acted import Acted, output_ends
from flows.clock import Clock, Pace, Reading, WrittenClock
from flows.corrections import CorrectionsReader
from flows.cut import cut_before
from flows.epoch import Epoch
from flows.logic.step import Step
from flows.metrics import Meter
from flows.order import Arrived, ControlReader, OrderReader, entries_of
from flows.place import Item, LogBehindError, Place, SourceOptions, Span, must_hold, nothing
from schemas.control import ControlRecord, OrderEntry
from schemas.log import Chunk, Log, LogUnavailableError, OffsetGoneError
from schemas.topics import CONTROL, EVENTS, ORDER

# The group that reports how far the flow is, for Kafka's tools and `penstock doctor`.
GROUP: Final = "flow"
# A tick at least this often while the partition follows the clock.
TICK_MS: Final = 1_000
# Just over the least time between two live reports of the logic.
FLUSH_S: Final = 0.05
# Bytewax is to call at once, always: it would wait by the wall clock, and for an hour when that is set back by one.
_AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
# Waits after the log was away, doubling.
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
# Control points emitted at once while a journal is followed.
_POINTS_MAX: Final = 256

_log = logging.getLogger(__name__)


class EventsPartition(StatefulSourcePartition[Item, Place]):
    """One partition of `events` and its journal.

    It follows the entries of `events.order`; when there are no more it writes one, as soon as control records arrive
    or a second has passed, and follows that. Since it acts only on entries that it has read back, what it emits is
    what a replay of the two topics will emit, also when a write failed halfway.
    """

    def __init__(
        self,
        log: Log,
        partition: int,
        partitions: int,
        resumed: Place | None,
        clock: Clock,
        meter: Meter,
        options: SourceOptions,
        stopping: Callable[[], bool],
        pace: Pace | None = None,
        renew: Callable[[], None] = nothing,
        room: Callable[[], None] = nothing,
    ) -> None:
        self._log = log
        self._partition = partition
        # By which the health of the loop knows who waits.
        self._name = f"partition {partition}"
        self._partitions = partitions
        self._resumed = resumed
        self._clock = clock
        self._meter = meter
        self._options = options
        self._stopping = stopping
        self._pace = pace
        self._renew = renew
        self._room = room
        self._written = WrittenClock(clock)
        self._opened = False
        self._place = resumed or Place(0, 0, 0, 0)
        self._ahead: Chunk | None = None
        self._retry_at_s = 0.0
        self._retry_s = RETRY_FIRST_S
        self._idle = False
        # Whether this epoch has had something for every shard.
        self._touched = not options.touches
        self._epoch = Epoch(meter, options, clock.mono_s())
        self._complete: Place | None = None

    def next_batch(self) -> list[Item]:
        """Control points, or one span, or nothing; waits a moment at most."""
        if self._pace is None:
            return self._next()
        if not self._stopping() and not self._pace.is_due(self._partition):
            return []
        try:
            items = self._next()
        except StopIteration:
            self._pace.leave(self._partition)
            raise
        self._pace.looked(self._partition, idle=self._idle)
        return items

    def _next(self) -> list[Item]:
        now_s = self._clock.mono_s()
        if self._epoch.hangs(now_s):
            self._renew()
        # Also where the flow is told to stop at once: the epoch that ends now has a snapshot of every shard.
        if not self._touched:
            self._touched = True
            return [self._empty()]
        if self._stopping():
            raise StopIteration
        self._epoch.note(now_s)
        self._idle = True
        self._meter.loop.turn()
        if now_s < self._retry_at_s or self._epoch_is_full():
            return []
        try:
            if not self._opened:
                self._open()
            items = self._advance()
        except LogUnavailableError as error:
            self._retry_later(now_s, error)
            return []
        self._retry_s = RETRY_FIRST_S
        self._meter.loop.goes_on(self._name)
        if items:
            self._meter.read_s = now_s
            self._meter.loop.did(len(items))
        return items

    def next_awake(self) -> datetime | None:
        """At once; `next_batch` does the waiting."""
        return _AT_ONCE

    def snapshot(self) -> Place:
        """Behind everything that was emitted. The place before that is complete, and is committed for lag reports."""
        # Nobody's snapshot is written before all partitions gave theirs.
        self._room()
        if self._complete is not None:
            self._commit(self._complete.events)
        if self._opened and self._options.journals:
            # An older end only means that more is looked through.
            with suppress(LogUnavailableError):
                self._note_outputs()
        self._complete = self._place
        self._epoch.ended(self._clock.mono_s())
        self._touched = not self._options.touches
        return self._place

    def _note_outputs(self) -> None:
        """Keep how far outputs were looked through, so that the next run does not look again.

        Not before this run is where earlier runs were: killed until then, the next one must find that out, too.
        """
        if not self._is_live:
            self._acted.look()
        if self._place.events >= self._acted.up_to:
            self._place = self._place._replace(outputs=output_ends(self._log) if self._is_live else self._acted.ends)

    def _open(self) -> None:
        log, partition = self._log, self._partition
        if self._resumed is None:
            begins = (log.begin(EVENTS, partition), log.begin(ORDER, partition), log.begin(CONTROL, 0))
            self._place = Place(*begins, 0)
        else:
            must_hold(log, partition, self._place)
        self._end = log.end(EVENTS, partition)
        self._order = OrderReader(log, partition, self._place.order)
        self._control = ControlReader(log, partition, self._partitions, self._place.control)
        own = self._place.corrections
        self._corrections = CorrectionsReader(log, partition, self._partitions, own, self._meter)
        self._flush_due_s: float | None = None
        # Whether this run has made an entry, and whether the next one takes all of `control`, as the first one does.
        self._is_live = False
        self._takes_all = True
        # Entries are missing, so what they brought into force must come from `control`.
        self._entries_gone = self._resumed is None and self._place.order > 0
        self._meter.read(partition, self._place.events, True)
        self._acted = Acted(log, partition, self._place.outputs)
        if self._options.journals:
            self._acted.look()
        self._written.start(self._place.now_ms)
        self._opened = True

    def _advance(self) -> list[Item]:
        entry = self._next_entry()
        if entry is not None and self._entries_gone:
            return [self._seed(entry)]
        if entry is not None and entry.offset <= self._place.events:
            return self._points()
        if entry is None and not self._order.at_end():
            # The log says there are entries and has not handed them over: no event may overtake them.
            return []
        acted = self._acted.up_to
        before = acted if self._place.events < acted else None
        span = self._span(before if entry is None else entry.offset)
        if span is not None:
            self._flush_due_s = self._clock.mono_s() + FLUSH_S
            return [span]
        if self._is_done(entry):
            raise StopIteration
        return self._flush()

    def _flush(self) -> list[Item]:
        """An empty step once a burst is over: live rows go out with steps, and the burst's last ones still wait."""
        if self._flush_due_s is None or self._clock.mono_s() < self._flush_due_s:
            return []
        self._flush_due_s = None
        return [self._empty()]

    def _empty(self) -> Step:
        return replace(self._point(self._place.now_ms, []), tick=False)

    def _is_done(self, entry: OrderEntry | None) -> bool:
        left = entry is not None or self._ahead is not None or self._place.events < self._end
        return self._options.ends and not left and not (self._options.journals and self._corrections.waits())

    def _next_entry(self) -> OrderEntry | None:
        """The entry to follow next, written first when it is time for one."""
        entry = self._peek()
        if entry is None and self._order.at_end() and self._options.journals and self._write_entry():
            entry = self._peek()
        return entry

    def _peek(self) -> OrderEntry | None:
        try:
            entry = self._order.peek()
            if self._order.unreadable:
                self._leave_out_unreadable()
            if self._order.skipped:
                self._leave_to_a_newer_version()
            return entry
        except OffsetGoneError as gone:
            self._must_be_behind(ORDER, self._place.order, gone)
            self._order.jump(gone.begin)
            self._entries_gone = True
            self._corrections.read_again()
            return None

    def _points(self) -> list[Item]:
        """The control points of the entries at this place."""
        points: list[Item] = []
        while len(points) < _POINTS_MAX:
            entry = self._peek()
            if entry is None or entry.offset > self._place.events:
                break
            self._order.take()
            self._control.followed(entry.control)
            corrections = [] if isinstance(entry.corrections, UnsetType) else entry.corrections
            # An entry that does not move the clock on is a retry's copy that the log took after all; it may bring more.
            if entry.now_ms > self._place.now_ms or corrections:
                now_ms = max(entry.now_ms, self._place.now_ms)
                points.append(replace(self._point(now_ms, entry.control), corrections=corrections))
            self._follow(entry)
        self._idle = False
        # Points are steps, too.
        self._flush_due_s = None
        return points

    def _follow(self, entry: OrderEntry) -> None:
        """Be behind an entry that is in force."""
        place = self._place
        wall_ms = 0 if isinstance(entry.wall_ms, UnsetType) else entry.wall_ms
        now_ms = max(entry.now_ms, place.now_ms)
        self._corrections.follow(entry)
        self._place = place._replace(
            order=self._order.taken,
            now_ms=now_ms,
            latest_ms=max(place.latest_ms, now_ms, wall_ms),
            corrections=self._corrections.offset,
        )
        self._written.at_least(now_ms)

    def _leave_out_unreadable(self) -> None:
        """An entry is not to be read, and what it brought into force is not known: the next one brings all of it."""
        self._meter.bad_records.labels(ORDER).inc(self._order.unreadable)
        self._order.unreadable = 0
        self._control.read_again()
        self._corrections.read_again()
        self._place = self._place._replace(control=self._control.offset)
        self._takes_all = True

    def _leave_to_a_newer_version(self) -> None:
        """An entry brought something into force that this version does not know: a newer one finds it in `control`."""
        self._order.skipped = 0
        self._control.unknown_from(self._log.begin(CONTROL, 0))
        self._place = self._place._replace(control=self._control.resume_at)

    def _seed(self, entry: OrderEntry) -> Step:
        """All control records, just before the first entry that is left of the journal."""
        records, _ = self._control.to_end()
        self._entries_gone = False
        return self._point(max(entry.now_ms - 1, self._place.now_ms), records)

    def _point(self, now_ms: int, control: list[ControlRecord]) -> Step:
        place = self._place.events
        return Step(
            partition=self._partition,
            first_offset=place,
            next_offset=place,
            now_ms=now_ms,
            read_ms=self._clock.wall_ms(),
            tick=True,
            control=control,
        )

    def _write_entry(self) -> bool:
        """Write an entry when control records arrived or a tick is due; True when one was written."""
        if self._place.events < self._acted.up_to:
            return False
        if not self._is_live:
            # A broker may take a moment to show the last that a run sent it which was killed.
            if self._place.events < self._acted.look():
                return False
            self._written.start(self._place.now_ms)
        reading = self._written.read()
        is_due = reading.now_ms - self._place.now_ms >= TICK_MS or self._has_leapt(reading) or self._takes_all
        now_s = self._clock.mono_s()
        control, behind = self._control.to_end() if self._takes_all else self._control.arrived(now_s, is_due)
        # With ticks; a bounded run does not wait for those.
        takes_corrections = is_due or (self._options.ends and self._corrections.waits())
        found = self._corrections.arrived(now_s) if takes_corrections else Arrived([], self._corrections.offset)
        if not control and not is_due and not found.corrections:
            self._place = self._place._replace(control=self._control.resume_at)
            return False
        now_ms = max(reading.now_ms, self._place.now_ms + 1)
        records = entries_of(self._place.events, now_ms, control, reading.wall_ms, found)
        self._order.known_end = self._log.append(ORDER, self._partition, records)
        self._control.advance(behind)
        self._corrections.offset = found.behind
        self._place = self._place._replace(control=self._control.resume_at)
        self._is_live, self._takes_all = True, False
        return True

    def _has_leapt(self, reading: Reading) -> bool:
        """Whether the wall clock shows a time that no entry knows of."""
        return reading.wall_ms - max(self._place.now_ms, self._place.latest_ms) >= TICK_MS

    def _span(self, before: int | None) -> Span | None:
        """The events that are there, none from offset `before` on."""
        chunk = self._ahead or self._read_events()
        self._ahead = None
        if chunk is None:
            return None
        if self._is_live and self._has_leapt(self._written.read()):
            # Events may be stamped by a clock that the journal does not know of yet: its entry comes before them.
            self._ahead = chunk
            return None
        if before is not None:
            now, self._ahead = cut_before(chunk, before)
            if now is None:
                # Offsets are not dense: the entry belongs before the next event there is.
                self._place = self._place._replace(events=chunk.first_offset)
                self._idle = False
                return None
            chunk = now
        self._place = self._place._replace(events=chunk.next_offset)
        self._epoch.took(len(chunk.payload))
        self._idle = len(chunk.payload) < self._options.span_bytes // 4 and self._ahead is None
        self._meter.read(self._partition, chunk.next_offset, chunk.offsets is None)
        place = self._place
        return Span(chunk, place.now_ms, self._clock.wall_ms(), max(place.now_ms, place.latest_ms))

    def _read_events(self) -> Chunk | None:
        try:
            return self._log.read(EVENTS, self._partition, self._place.events, self._options.span_bytes)
        except OffsetGoneError as gone:
            self._must_be_behind(EVENTS, self._place.events, gone)
            self._place = self._place._replace(events=gone.begin)
            return None

    def _must_be_behind(self, topic: str, offset: int, gone: OffsetGoneError) -> None:
        """Retention may take what was not read in time; an offset past the log's end means another log altogether."""
        if gone.begin <= offset:
            raise LogBehindError(topic, self._partition, self._log.end(topic, self._partition), offset) from gone
        self._meter.offsets_gone.labels(topic).inc()
        _log.error("LOST to retention: %s; the flow was away for too long and goes on at %d", gone, gone.begin)

    def _epoch_is_full(self) -> bool:
        if not self._epoch.is_full():
            return False
        self._meter.loop.waits_for("the other processes of the cluster to end their epoch", self._name)
        return True

    def _retry_later(self, now_s: float, error: LogUnavailableError) -> None:
        self._meter.source_retries.labels(self._partition).inc()
        self._meter.loop.waits_for(f"the log: {error}", self._name)
        _log.warning("partition %d waits %.1f s for the log: %s", self._partition, self._retry_s, error)
        self._retry_at_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    def _commit(self, offset: int) -> None:
        try:
            self._log.commit(GROUP, EVENTS, self._partition, offset)
        except LogUnavailableError as error:
            _log.warning("partition %d: the offset for lag reports was not committed: %s", self._partition, error)
