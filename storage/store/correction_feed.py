"""Topic `corrections.applied` into ClickHouse; closed windows that a correction touches are counted again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas import topics
from schemas.log import Log
from storage import metrics
from storage.client import Client
from storage.reconcile import Reconciliation
from storage.store.event_rows import campaign_moments
from storage.store.feed import CHUNK_BYTES, GROUP
from storage.store.fingerprint import CORRECTIONS
from storage.store.tables import correction_table
from storage.store.topic_feed import TopicFeed, topic_rows
from storage.store.verify import write
from storage.store.zones import Zones

# The dataflow writes a window's last row at the tick after it closed, and several topics at once.
RECOUNT_S: Final = 5.0
# Moments that wait for a recount; beyond, nothing more is read.
WAITING_MAX: Final = 200_000
# What must be stored before windows are counted again: the events that the dataflow had counted, and its own rows.
_BEFORE: Final = (topics.VERDICTS, topics.KPIS)


class CorrectionFeed(TopicFeed):
    """Corrections as the dataflow has applied them, exactly once: rows by id, and windows from all rows.

    A closed window is counted again once the events and windows that the dataflow wrote before are stored: counted
    sooner, the dataflow's own row might still replace it. An offset is committed after that, so after a kill the same
    windows are counted again, which changes nothing.
    """

    def __init__(self, log: Log, *, raw_ttl_days: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(log, topics.CORRECTIONS_APPLIED, "corrections", correction_table)
        self._log = log
        self._clock = clock
        self._raw_ttl_days = raw_ttl_days
        self._zones = Zones(log, clock=clock)
        # Moments of late corrections by campaign, and when the first of them was stored.
        self._late: dict[tuple[str, str], set[int]] = {}
        self._late_since_s: float | None = None
        # Ends of topics that must be stored before the recount; None while more may be taken.
        self._awaited: dict[str, int] | None = None
        self._committed = self._tail.position

    def step(self, client: Client) -> bool:
        """Store what was applied, recount what it touches, commit; True when there is more to do at once."""
        more = self._awaited is None and self._take(client)
        if self._late_since_s is not None:
            self._recount_when_due(client)
        if self._late_since_s is None and self._committed != self._tail.position:
            self._tail.commit(self._tail.position)
            self._committed = self._tail.position
        return more

    def _take(self, client: Client) -> bool:
        if sum(map(len, self._late.values())) >= WAITING_MAX:
            return False
        chunk = self._tail.read(CHUNK_BYTES)
        if chunk is None:
            return False
        table, place = topic_rows(correction_table, chunk)
        write(client, CORRECTIONS, table, place)
        self._note(table)
        self._tail.position = chunk.next_offset
        return len(chunk.payload) > CHUNK_BYTES // 2

    def _note(self, table: pa.Table) -> None:
        found = touched(table)
        for campaign, moments in found.items():
            self._late.setdefault(campaign, set()).update(moments)
        if found and self._late_since_s is None:
            self._late_since_s = self._clock()

    def _recount_when_due(self, client: Client) -> None:
        if self._awaited is None:
            noted = sum(map(len, self._late.values()))
            if noted < WAITING_MAX and self._clock() - (self._late_since_s or 0.0) < RECOUNT_S:
                return
            self._awaited = {topic: self._log.end(topic, 0) for topic in _BEFORE}
        if any((self._log.committed(GROUP, topic, 0) or 0) < end for topic, end in self._awaited.items()):
            return
        self._zones.refresh()
        metrics.RECONCILED.inc(recount(client, self._late, self._zones, self._raw_ttl_days))
        self._late, self._late_since_s, self._awaited = {}, None, None


def touched(table: pa.Table) -> dict[tuple[str, str], set[int]]:
    """Event times (ms) by campaign, of the corrections that fall in a closed window and have an effect."""
    effective = pc.and_(pc.equal(table["late"], 1), pc.equal(table["refused"], 0))
    return campaign_moments(table.filter(effective))


def recount(client: Client, moments: dict[tuple[str, str], set[int]], zones: Zones, raw_ttl_days: int) -> int:
    """Count the windows of these moments again; returns how many. Raises the client's exceptions; safe to do again."""
    work = Reconciliation(client, raw_ttl_days=raw_ttl_days, day_bounds=zones.day_bounds)
    return sum(work.recompute(*campaign, at) for campaign, at in moments.items())
