"""Topic `kpis` into ClickHouse; days that the dataflow has cut displace those that were cut here before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas.kpis import Level, Window
from schemas.log import Log
from storage.client import Client
from storage.reconcile import Campaign, Day, Reconciliation, displaced
from storage.store.topic_feed import TOPICS, TopicFeed
from storage.store.zones import Zones

_log = logging.getLogger(__name__)

# Days looked at that are remembered; one that is forgotten is looked at once more.
LOOKED_MAX: Final = 200_000


class KpiFeed(TopicFeed):
    """Windows as the dataflow has them.

    Late events of a day may be counted before the dataflow's row of it is stored; they go into the day of the
    campaign's time zone then. The dataflow began with days of UTC where events came before the definition. So whoever
    stores a day looks afterwards whether it lies over another one, here and in the reconciliation: the later of the two
    sees both.
    """

    def __init__(self, log: Log, *, raw_ttl_days: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(log, *TOPICS[0])
        self._raw_ttl_days = raw_ttl_days
        self._zones = Zones(log, clock=clock)
        self._looked: set[tuple[Campaign, Day]] = set()

    def _stored(self, client: Client, table: pa.Table) -> None:
        new = days_of(table) - self._looked
        if not new:
            return
        campaigns: dict[Campaign, list[Day]] = {}
        for campaign, day in sorted(new):
            campaigns.setdefault(campaign, []).append(day)
        work = Reconciliation(client, raw_ttl_days=self._raw_ttl_days, day_bounds=self._zones.day_bounds)
        stored = work.days(list(campaigns), {moment for _, day in new for moment in day})
        for campaign, days in campaigns.items():
            if wrong := displaced(stored[campaign] | dict.fromkeys(days, True)):
                self._zones.refresh()
                work.recompute(*campaign, {day[0] for day in [*wrong, *days]}, days)
                _log.warning("%d daily rows of %s lay over the dataflow's and are counted again", len(wrong), campaign)
        self._looked = new if len(self._looked) + len(new) > LOOKED_MAX else self._looked | new


def days_of(table: pa.Table) -> set[tuple[Campaign, Day]]:
    """The days of campaigns among rows of `kpi_windows`."""
    rows = table.filter(
        pc.and_(pc.equal(table["level"], Level.CAMPAIGN.value), pc.equal(table["window"], Window.DAY.value))
    )
    campaigns = zip(*(rows[name].to_pylist() for name in ("org_id", "campaign_id")), strict=True)
    days = zip(*(rows[name].cast(pa.int64()).to_pylist() for name in ("window_start", "window_end")), strict=True)
    return set(zip(campaigns, days, strict=True))
