"""The feeds of `penstock store`, stepped by a test."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import topics
from schemas.corrections import Applied, Correction, encode_applied
from schemas.events import Event
from storage.store.event_feed import RECONCILE_S, EventFeed
from storage.store.feeds import topic_feeds
from tests.storage.conftest import Database
from tests.storage.small_flow import START_MS, sums
from tests.support.memory_log import MemoryLog


class Store:
    """The feeds of `penstock store`, stepped by hand; `restarted` is a new process on the same log."""

    def __init__(self, log: MemoryLog, database: Database) -> None:
        self.log = log
        self.database = database
        self.now_s = 0.0
        self.restart()

    def restart(self) -> None:
        self.events = EventFeed(self.log, raw_ttl_days=90, clock=lambda: self.now_s)
        self.topics = topic_feeds(self.log, raw_ttl_days=90, clock=lambda: self.now_s)

    def catch_up(self) -> None:
        for _ in range(2):
            for feed in (self.events, *self.topics):
                while feed.step(self.database.client):
                    pass
            self.now_s += RECONCILE_S


def applied(log: MemoryLog, given: Sequence[Correction], *, late: bool = True, refused: Sequence[int] = ()) -> None:
    """What the dataflow writes once corrections came into force."""
    places = list(range(len(given))) if late else []
    told = Applied(
        partition=0, now_ms=START_MS + 3_600_000, corrections=list(given), late=places, refused=list(refused)
    )
    log.append(topics.CORRECTIONS_APPLIED, 0, [encode_applied(told)])


def windows(database: Database, campaign: str = "c0", level: str = "campaign") -> dict[str, tuple[int, ...]]:
    """Impressions, clicks, spend and revenue of a campaign by kind of window."""
    query = """SELECT window, toInt64(sum(impressions)), toInt64(sum(clicks)), sum(spend_micros), sum(revenue_micros)
        FROM kpi_exact WHERE campaign_id = {campaign:String} AND level = {level:String} GROUP BY window"""
    return {row[0]: row[1:] for row in database.rows(query, campaign=campaign, level=level)}


def counted(given: Sequence[Event], campaign: str = "c0") -> tuple[int, int, int, int]:
    """The same, of events."""
    of = sums([event for event in given if event.campaign_id == campaign])
    return of["impressions"], of["clicks"], of["spend_micros"], of["revenue_micros"]
