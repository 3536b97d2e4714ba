"""Events into ClickHouse: the verdicts of the dataflow joined with the events they are about."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from schemas import topics
from schemas.kpis import Verdicts
from schemas.log import Log
from storage import metrics
from storage.client import Client
from storage.reconcile import Reconciliation
from storage.store.event_rows import event_table, late_moments
from storage.store.feed import CHUNK_BYTES, Tail
from storage.store.fingerprint import EVENTS
from storage.store.late_duplicates import LateDuplicates
from storage.store.spans import Decided, Spans
from storage.store.tables import decoded
from storage.store.verify import Place, write
from storage.store.zones import Zones

_log = logging.getLogger(__name__)

# Verdicts are read on only while fewer numbers than this wait (spans, and events listed in them), or while none of them
# can be acted on: so a long absence is made good in bounded memory.
WAITING_MAX: Final = 1_000_000
_VERDICT_BYTES: Final = 2**20
# Late events mostly come in clusters: their windows are computed again once for a while's worth, or sooner for so many.
RECONCILE_S: Final = 5.0
RECONCILE_MOMENTS: Final = 200_000

_verdict_decoder: Final = msgspec.json.Decoder(Verdicts)


class EventFeed:
    """Topics `verdicts` and `events` into table `events`; late events' windows are then computed again.

    An offset is committed once its events are seen to be stored and their windows reconciled; after a crash what lies
    behind the commit is stored again, which changes nothing.
    """

    name = "events"

    def __init__(self, log: Log, *, raw_ttl_days: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._raw_ttl_days = raw_ttl_days
        self._verdicts = Tail(log, topics.VERDICTS, 0)
        self._tails = [Tail(log, topics.EVENTS, p) for p in range(log.partitions(topics.EVENTS))]
        self._spans = [Spans(tail.partition, done=tail.position) for tail in self._tails]
        self._zones = Zones(log, clock=clock)
        self._again = LateDuplicates(log)
        # Moments of late events by campaign, and when the first of them was stored.
        self._late: dict[tuple[str, str], set[int]] = {}
        self._late_since_s: float | None = None
        self._committed: dict[tuple[str, int], int] = {}
        # Nothing could be stored in the last step.
        self._stuck = False
        self._verdicts_at_end = False

    def step(self, client: Client) -> bool:
        """Take verdicts, store what they decide, reconcile, commit; True when there is more to do at once."""
        more = self._take_verdicts()
        self._verdicts_at_end = not more
        before = [spans.done for spans in self._spans]
        for spans, tail in zip(self._spans, self._tails, strict=True):
            more = self._store(client, spans, tail) or more
        self._stuck = before == [spans.done for spans in self._spans]
        if self._reconciliation_is_due():
            self._reconcile(client)
        if self._late_since_s is None:
            self._commit()
        return more

    def lag_records(self) -> int:
        """About how many events are not stored."""
        return sum(tail.lag_records() for tail in self._tails)

    def _take_verdicts(self) -> bool:
        if sum(map(len, self._spans)) >= WAITING_MAX and not self._stuck:
            return True
        chunk = self._verdicts.read(_VERDICT_BYTES)
        if chunk is None:
            return False
        for verdicts in decoded(topics.VERDICTS, chunk.records(), _verdict_decoder.decode):
            if verdicts.partition < len(self._spans):
                self._spans[verdicts.partition].add(verdicts, at=chunk.first_offset)
        self._verdicts.position = chunk.next_offset
        return True

    def _store(self, client: Client, spans: Spans, tail: Tail) -> bool:
        decided = spans.decided(span_max=CHUNK_BYTES)
        if decided is None:
            self._cross_gap(spans, tail)
            return False
        tail.position = decided.first_offset
        chunk = tail.read(self._bytes_of(decided, tail))
        if chunk is None:
            # Retention was faster: go on where the log begins now.
            spans.advance(min(tail.position, decided.next_offset))
            return tail.position > decided.first_offset
        table = event_table(chunk, decided)
        # Before they are stored: a merge removes what they replace.
        self._again.send(client, table, chunk.partition)
        write(client, EVENTS, table, Place(chunk.first_offset, chunk.next_offset, chunk.partition))
        self._note_late(late_moments(table))
        done = min(chunk.next_offset, decided.next_offset)
        spans.advance(done)
        tail.position = spans.done
        return done < decided.next_offset or done - decided.first_offset >= CHUNK_BYTES // 2

    @staticmethod
    def _bytes_of(decided: Decided, tail: Tail) -> int:
        length = decided.next_offset - decided.first_offset
        return min(CHUNK_BYTES, length) if tail.offsets_are_bytes else CHUNK_BYTES

    def _cross_gap(self, spans: Spans, tail: Tail) -> None:
        """Offsets without records (a broker's own marks, or what retention removed) have no verdict; neither have
        events whose verdicts retention removed: they stay unstored, counted and logged."""
        gap_end = spans.gap_end()
        if gap_end is None:
            return
        tail.position = spans.done
        chunk = tail.read(1)
        first = tail.position if chunk is None else int(chunk.offsets[0]) if chunk.offsets is not None else spans.done
        spans.advance(min(first, gap_end))
        if self._verdicts.lost and self._verdicts_at_end and spans.done < gap_end:
            metrics.LOST.labels(topics.EVENTS).inc(gap_end - spans.done)
            _log.error("events/%d: %d to %d have no verdict and are not stored", tail.partition, spans.done, gap_end)
            spans.advance(gap_end)
        tail.position = spans.done

    def _note_late(self, moments: list[tuple[str, str, int]]) -> None:
        for org_id, campaign_id, ts_ms in moments:
            self._late.setdefault((org_id, campaign_id), set()).add(ts_ms)
        if moments and self._late_since_s is None:
            self._late_since_s = self._clock()

    def _reconciliation_is_due(self) -> bool:
        if self._late_since_s is None:
            return False
        noted = sum(len(moments) for moments in self._late.values())
        return noted >= RECONCILE_MOMENTS or self._clock() - self._late_since_s >= RECONCILE_S

    def _reconcile(self, client: Client) -> None:
        zones_changed = bool(self._zones.refresh())
        work = Reconciliation(client, raw_ttl_days=self._raw_ttl_days, day_bounds=self._zones.day_bounds)
        for campaign in list(self._late):
            metrics.RECONCILED.inc(work.recompute(*campaign, self._late[campaign]))
            del self._late[campaign]
        if zones_changed and (removed := work.mend_days()):
            _log.warning("%d daily rows were cut by another time zone and are counted again", removed)
        self._late_since_s = None

    def _commit(self) -> None:
        """Events first: a verdict that is read again is then known to be done."""
        for spans, tail in zip(self._spans, self._tails, strict=True):
            self._commit_once(tail, spans.done)
        needed = [at for spans in self._spans if (at := spans.oldest()) is not None]
        self._commit_once(self._verdicts, min([*needed, self._verdicts.position]))

    def _commit_once(self, tail: Tail, offset: int) -> None:
        key = tail.topic, tail.partition
        if self._committed.get(key) != offset:
            tail.commit(offset)
            self._committed[key] = offset
