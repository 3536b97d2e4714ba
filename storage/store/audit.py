"""What was stored is compared with the log again, later, and what has gone missing since is written again.

Rows can be lost after the store has seen them: a crash of the machine, a file removed, a part that the engine found
broken at its start and set aside. The log still has them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas import topics
from schemas.live import Verification
from schemas.log import Log, OffsetGoneError
from storage import metrics
from storage.client import Client
from storage.reconcile import Reconciliation
from storage.store.decided_events import DecidedEvents, Piece
from storage.store.event_rows import campaign_moments
from storage.store.feed import GROUP, Tail
from storage.store.fingerprint import CORRECTIONS, EVENTS, KPI_WINDOWS, SHAPES, Shape
from storage.store.topic_feed import TOPICS, topic_rows
from storage.store.verify import Place, missing, write
from storage.store.zones import Zones

_log = logging.getLogger(__name__)

AUDIT_GROUP: Final = "store-audit"
# Bytes of a partition in one step, of which there is one a second: a few per cent of a core.
STEP_BYTES: Final = 4 * 2**20
# At most this share of the time: where questions are dear (many small campaigns in large parts) it is slow.
BUSY_SHARE: Final = 0.05
# Windows are packed: this is ten thousand of them.
TOPIC_STEP_BYTES: Final = 2**18
# What a round compares was written up to a minute before and longer.
ROUND_EVERY_S: Final = 60.0
# After a start so much is compared again though it was before: it is what a crash of the machine loses.
RECENT_BYTES: Final = 64 * 2**20
RECENT_RECORDS: Final = 200_000
# Tables whose rows, once written again, are counted with what came after their windows had closed; by which time.
_RECOUNTED: Final = {CORRECTIONS.table: "ts", KPI_WINDOWS.table: "window_start"}
# Everything that the log has is compared again.
WHOLE_EVERY_S: Final = 86_400.0


def repair(client: Client, shape: Shape, table: pa.Table, place: Place) -> pa.Table:
    """Write again what of the rows is missing, and return it. Raises UnwrittenError when it does not stay."""
    gone = table.filter(pa.array(missing(client, shape, table, place)))
    metrics.AUDITED.labels(shape.table).inc(table.num_rows)
    if gone.num_rows:
        write(client, shape, gone, place)
        metrics.REPAIRED.labels(shape.table).inc(gone.num_rows)
        _log.error("%s: %d of %d rows were gone and are written again", shape.table, gone.num_rows, table.num_rows)
    return gone


class Audit:
    """A feed that moves nothing: goes over what the others have committed, in rounds, and repairs it.

    It goes on where it was before a restart, less what was recent then. `is_busy` says when the others need ClickHouse
    more. With `whole` false (raw events expire sooner than the log) only what is recent is compared.
    """

    name = "audit"

    def __init__(
        self,
        log: Log,
        *,
        raw_ttl_days: int,
        whole: bool = True,
        is_busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._log = log
        self._raw_ttl_days = raw_ttl_days
        self._whole = whole
        self._is_busy = is_busy
        self._clock = clock
        self._now_ms = now_ms
        self._zones = Zones(log)
        self._partitions = range(log.partitions(topics.EVENTS))
        self._events: DecidedEvents | None = None
        self._tails: dict[str, Tail] = {}
        self._limits: dict[tuple[str, int], int] = {}
        self._whole_since_s = clock()
        self._round_since_s: float | None = None
        self._rests_until_s = 0.0
        self._tally = _tally()
        # The last round that compared anything; read by another thread.
        self.last: Verification | None = None

    def step(self, client: Client) -> bool:
        """Compare and repair some; False, as there is no hurry. Raises what the client and the log raise."""
        began_s = self._clock()
        if began_s < self._rests_until_s or self._is_busy() or not self._in_round(client):
            return False
        self._go_on(client)
        now_s = self._clock()
        self._rests_until_s = now_s + (now_s - began_s) * (1 / BUSY_SHARE - 1)
        return False

    def _go_on(self, client: Client) -> None:
        assert self._events is not None
        done = True
        for partition in self._partitions:
            limit = self._limits.get((topics.EVENTS, partition), 0)
            piece = self._events.read(partition, limit, STEP_BYTES)
            if piece is not None:
                self._compare(client, piece)
            done = done and self._events.position(partition) >= limit
        for topic, table, rows in TOPICS:
            done = self._compare_topic(client, topic, table, rows) and done
        if done:
            self._end_round()

    def lag_records(self) -> int:
        """Nothing waits here to be stored."""
        return 0

    def _in_round(self, client: Client) -> bool:
        now_s = self._clock()
        if self._limits:
            return True
        if self._round_since_s is not None and now_s - self._round_since_s < ROUND_EVERY_S:
            return False
        afresh = now_s - self._whole_since_s >= WHOLE_EVERY_S
        if self._events is None or afresh:
            self._begin(afresh=afresh)
            self._zones.refresh()
            Reconciliation(client, raw_ttl_days=self._raw_ttl_days, day_bounds=self._zones.day_bounds).mend_days()
        self._round_since_s = now_s
        self._tally = _tally()
        for topic, partition in self._places():
            self._limits[topic, partition] = self._log.committed(GROUP, topic, partition) or 0
        return True

    def _places(self) -> list[tuple[str, int]]:
        return [*((topics.EVENTS, p) for p in self._partitions), *((topic, 0) for topic, _, _ in TOPICS)]

    def _begin(self, *, afresh: bool) -> None:
        if afresh:
            self._whole_since_s = self._clock()
        starts = {place: self._start(*place, afresh=afresh) for place in self._places()}
        self._events = DecidedEvents(self._log, {p: starts[topics.EVENTS, p] for p in self._partitions})
        self._tails = {topic: Tail(self._log, topic, 0, start=starts[topic, 0], again=True) for topic, _, _ in TOPICS}

    def _start(self, topic: str, partition: int, *, afresh: bool) -> int:
        begin = self._log.begin(topic, partition)
        place = self._log.committed(AUDIT_GROUP, topic, partition)
        if not self._whole:
            place = self._log.committed(GROUP, topic, partition)
        elif place is None or afresh:
            return begin
        return max(begin, (place or 0) - self._recent(topic, partition, begin))

    def _recent(self, topic: str, partition: int, begin: int) -> int:
        """How far to go back, in offsets: bytes of a local log, records of Kafka."""
        try:
            chunk = self._log.read(topic, partition, begin, 1, 1.0)
        except OffsetGoneError:
            chunk = None
        return RECENT_BYTES if chunk is None or chunk.offsets is None else RECENT_RECORDS

    def _compare(self, client: Client, piece: Piece) -> None:
        table = piece.table
        gone = repair(client, EVENTS, table, piece.place)
        if gone.num_rows:
            self._recompute(client, gone)
        if table.num_rows:
            bounds = pc.min_max(table["ts"].cast(pa.int64())).as_py()
            self._tally.from_ms = min(self._tally.from_ms or bounds["min"], bounds["min"])
            self._tally.to_ms = max(self._tally.to_ms, bounds["max"])
        self._tally.events += table.num_rows
        self._count(gone.num_rows)

    def _recompute(self, client: Client, table: pa.Table, moment: str = "ts") -> None:
        """Windows that were counted while their events or corrections were gone, or that are the dataflow's again."""
        self._zones.refresh()
        work = Reconciliation(client, raw_ttl_days=self._raw_ttl_days, day_bounds=self._zones.day_bounds)
        for campaign, moments in campaign_moments(table, moment).items():
            work.recompute(*campaign, moments)

    def _compare_topic(self, client: Client, topic: str, table: str, rows: Callable[..., pa.Table]) -> bool:
        """True at the round's limit."""
        tail, limit = self._tails[topic], self._limits.get((topic, 0), 0)
        if tail.position >= limit:
            return True
        chunk = tail.read(min(TOPIC_STEP_BYTES, limit - tail.position) if tail.offsets_are_bytes else TOPIC_STEP_BYTES)
        if chunk is None:
            return False
        if chunk.next_offset > limit:
            # Records of a broker are not cut by bytes: what lies behind the limit is for the next round.
            return tail.offsets_are_bytes is False
        given, place = topic_rows(rows, chunk)
        gone = repair(client, SHAPES[table], given, place)
        if gone.num_rows and table in _RECOUNTED:
            self._recompute(client, gone, _RECOUNTED[table])
        self._count(gone.num_rows)
        self._tally.rows += given.num_rows
        tail.position = chunk.next_offset
        return tail.position >= limit

    def _count(self, count: int) -> None:
        self._tally.missing += count
        self._tally.repaired += count

    def _end_round(self) -> None:
        assert self._events is not None
        for topic, partition in self._places():
            events = topic == topics.EVENTS
            position = self._events.position(partition) if events else self._tails[topic].position
            self._log.commit(AUDIT_GROUP, topic, partition, position)
        self._limits = {}
        if self._tally.events or self._tally.rows:
            self._tally.at_ms = self._now_ms()
            self.last = self._tally


def _tally() -> Verification:
    return Verification(at_ms=0, by="store", from_ms=0, to_ms=0, events=0, rows=0, missing=0, repaired=0)
