"""What the dataflow must find, computed the slow and plain way: one event after the other, sums in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from schemas.control import CampaignRecord
from schemas.zones import zone_of
from tests.flows.logic.stream import Ev, Item, Tick

LATENESS_MS = 600_000
WIDTHS = {"10s": 10_000, "1m": 60_000, "1h": 3_600_000}


def local_date(zone: str, ts_ms: int) -> date:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).astimezone(zone_of(zone)).date()


def midnight_ms(zone: str, day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone_of(zone)).timestamp() * 1_000)


@dataclass
class Campaign:
    zone: str
    daily: int | None = None
    weekly: int | None = None
    total: int | None = None
    defined: bool = False
    watermark: int = 0
    behind: int = 0
    seen: bool = False
    day: date = date.min
    paused: str | None = None
    by_day: dict[date, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def clock(self) -> int:
        return self.watermark + self.behind

    def week(self) -> int:
        monday = self.day - timedelta(days=self.day.weekday())
        return sum(cost for day, cost in self.by_day.items() if monday <= day < monday + timedelta(days=7))

    def reached(self) -> str | None:
        if self.total is not None and sum(self.by_day.values()) >= self.total:
            return "total_budget_reached"
        if self.weekly is not None and self.week() >= self.weekly:
            return "weekly_budget_reached"
        if self.daily is not None and self.by_day[self.day] >= self.daily:
            return "daily_budget_reached"
        return None


class Reference:
    """Windows, late events and decisions of a stream without duplicates."""

    def __init__(self, zones: dict[str, str], now_ms: int) -> None:
        self.now_ms = now_ms
        self.campaigns: dict[str, Campaign] = {}
        self.zones = zones
        self.windows: dict[tuple[Any, ...], list[int]] = {}
        self.actors: dict[tuple[Any, ...], set[int]] = defaultdict(set)
        self.late: list[int] = []
        self.decisions: list[tuple[Any, ...]] = []
        self.offset = 0

    def run(self, items: list[Item]) -> Reference:
        for item in items:
            if isinstance(item, Tick):
                self._tick(item)
            else:
                self._event(item)
                self.offset += 10
        return self

    def _campaign(self, name: str) -> Campaign:
        if name not in self.campaigns:
            made = self.campaigns[name] = Campaign(self.zones.get(name, "UTC"), watermark=self.now_ms)
            made.day = local_date(made.zone, self.now_ms)
        return self.campaigns[name]

    def _tick(self, tick: Tick) -> None:
        passed, self.now_ms = tick.now_ms - self.now_ms, tick.now_ms
        for record in tick.control:
            assert isinstance(record, CampaignRecord)
            campaign = self._campaign(record.campaign_id)
            campaign.defined = True
            campaign.daily = record.campaign.get("daily_budget_micros")
            campaign.weekly = record.campaign.get("weekly_budget_micros")
            campaign.total = record.campaign.get("total_budget_micros")
            self._review(record.campaign_id, campaign.clock)
        for name, campaign in sorted(self.campaigns.items()):
            if campaign.seen:
                moved = min(campaign.behind + passed, 10_000)
                campaign.behind += passed - moved
                campaign.watermark += moved
            else:
                campaign.watermark = max(campaign.watermark, self.now_ms)
            self._roll(name, campaign.clock)

    def _roll(self, name: str, ts_ms: int) -> None:
        campaign = self.campaigns[name]
        campaign.day = max(campaign.day, local_date(campaign.zone, campaign.clock))
        self._review(name, ts_ms)

    def _review(self, name: str, ts_ms: int) -> None:
        campaign = self.campaigns[name]
        if not campaign.defined:
            return
        reason = campaign.reached()
        if (reason is None) != (campaign.paused is None):
            kind = "pause" if reason is not None else "resume"
            self.decisions.append((name, kind, reason or campaign.paused, ts_ms))
        campaign.paused = reason

    def _event(self, event: Ev) -> None:
        campaign = self._campaign(event.campaign)
        reach_ms = min(event.ts_ms, self.now_ms + 5_000)
        if not campaign.seen:
            campaign.seen, campaign.watermark, campaign.behind = True, reach_ms, 0
            campaign.day = local_date(campaign.zone, reach_ms)
        elif reach_ms > campaign.watermark:
            campaign.watermark, campaign.behind = reach_ms, 0
        self._roll(event.campaign, event.ts_ms)
        day = local_date(campaign.zone, event.ts_ms)
        campaign.by_day[day] += event.cost
        self._review(event.campaign, event.ts_ms)
        windows = [(window, start := event.ts_ms - event.ts_ms % ms, start + ms) for window, ms in WIDTHS.items()]
        days = midnight_ms(campaign.zone, day), midnight_ms(campaign.zone, day + timedelta(days=1))
        for window, start, end in [*windows, ("day", *days)]:
            closed = end + LATENESS_MS <= campaign.watermark or day < campaign.day - timedelta(days=1)
            if closed and window == "10s":
                self.late.append(self.offset)
            if not closed:
                self._count((event.campaign, "series", event.creative, window, start), end, event)
                self._count((event.campaign, "campaign", "", window, start), end, event)

    def _count(self, key: tuple[Any, ...], end: int, event: Ev) -> None:
        numbers = self.windows.setdefault(key, [end, 0, 0, 0, 0, 0, 0])
        numbers[event.type] += 1
        numbers[5] += event.cost
        numbers[6] += event.revenue
        if event.actor:
            self.actors[key].add(event.actor)

    def final_windows(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        return {key: tuple(numbers) for key, numbers in self.windows.items()}
