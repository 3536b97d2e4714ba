"""A seeded market for demonstrations: auctions, wins at the clearing price, clicks and conversions with delay.

Pure apart from its own state: the caller gives the time and what each campaign serves now, and gets events back. The
same seed, times and serving states give the same events.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import numpy as np

from schemas.serving import Serving
from schemas.zones import zone_of

# Share of a day's traffic by hour, the mean shape of consumer web traffic: a trough at 4, peaks at noon and 21.
HOUR_SHARE: Final = (
    0.026, 0.017, 0.012, 0.009, 0.008, 0.010, 0.017, 0.027, 0.037, 0.044, 0.051, 0.054,
    0.055, 0.054, 0.053, 0.053, 0.052, 0.054, 0.059, 0.063, 0.067, 0.070, 0.062, 0.046,
)  # fmt: skip
WEEKEND_FACTOR: Final = 0.85
# Clicks and conversions on their way; beyond this the latest are dropped, a demonstration needs no more.
PENDING_MAX: Final = 100_000
# One step never draws more auctions for a campaign than this, however long the caller slept.
AUCTIONS_MAX: Final = 20_000

COUNTRIES: Final = ("US", "DE", "GB", "FR", "BR", "IN")
DEVICES: Final = ("mobile", "desktop", "tablet")
_DEVICE_SHARE: Final = (0.62, 0.31, 0.07)


@dataclass(frozen=True, slots=True)
class Demand:
    """How the market responds to one campaign. Prices are CPM micros; rates are probabilities."""

    campaign_id: str
    auctions_per_second: float
    price_median_micros: int
    price_sigma: float
    ctr: float
    cvr: float
    order_value_micros: int
    time_zone: str = "UTC"
    channel: str = "display"
    platform: str = "openrtb"
    creatives: int = 3
    click_delay_s: float = 3.0
    conversion_delay_s: float = 40.0
    lead_share: float = 0.0
    audience: int = 200_000


@dataclass(order=True, slots=True)
class _Due:
    ts_ms: int
    order: int
    event: dict[str, Any] = field(compare=False)


def traffic_factor(ts_ms: int, time_zone: str) -> float:
    """Traffic at a moment against the mean of a weekday, by the local hour, smooth between hours.

    >>> round(traffic_factor(1_763_600_400_000, "UTC"), 2)  # 01:00 on a Thursday
    0.41
    """
    local = datetime.fromtimestamp(ts_ms / 1_000, UTC).astimezone(zone_of(time_zone))
    share = local.minute / 60
    mixed = (1 - share) * HOUR_SHARE[local.hour] + share * HOUR_SHARE[(local.hour + 1) % 24]
    return 24 * mixed * (WEEKEND_FACTOR if local.weekday() >= 5 else 1.0)


class Market:
    """Draws what happens between two moments. `rng` is the only chance."""

    def __init__(self, demands: Sequence[Demand], *, rng: np.random.Generator, run: str) -> None:
        self._demands = demands
        self._rng = rng
        self._run = run
        self._serial = count()
        self._pending: list[_Due] = []

    def step(
        self, from_ms: int, to_ms: int, serving: Mapping[str, Serving], *, thin: float = 1.0
    ) -> list[dict[str, Any]]:
        """Events of (from_ms, to_ms], by time. A campaign without a serving state, paused or without a bid buys
        nothing; what it won before still clicks and converts. `thin` scales traffic down (for a quick history)."""
        events: list[dict[str, Any]] = []
        for demand in self._demands:
            state = serving.get(demand.campaign_id)
            if state is None or state.paused or state.bid_micros is None:
                continue
            events.extend(self._auctions(demand, state, from_ms, to_ms, thin))
        while self._pending and self._pending[0].ts_ms <= to_ms:
            events.append(heapq.heappop(self._pending).event)
        events.sort(key=lambda event: event["ts"])
        return events

    def _auctions(self, demand: Demand, state: Serving, from_ms: int, to_ms: int, thin: float) -> list[dict[str, Any]]:
        rng = self._rng
        factor = traffic_factor(to_ms, demand.time_zone) * thin * state.pacing_rate
        expected = demand.auctions_per_second * factor * (to_ms - from_ms) / 1_000
        auctions = min(int(rng.poisson(expected)), AUCTIONS_MAX)
        if auctions == 0 or state.bid_micros is None:
            return []
        prices = demand.price_median_micros * np.exp(demand.price_sigma * rng.standard_normal(auctions))
        won = prices[prices <= state.bid_micros]
        stamps = np.sort(rng.integers(from_ms + 1, to_ms + 1, size=len(won)))
        return [self._impression(demand, int(ts), float(price)) for ts, price in zip(stamps, won, strict=True)]

    def _impression(self, demand: Demand, ts_ms: int, price_cpm_micros: float) -> dict[str, Any]:
        rng = self._rng
        creative = int(rng.integers(demand.creatives))
        # A few people see most of the impressions: squares of a uniform draw.
        person = int(demand.audience * rng.random() ** 2)
        event: dict[str, Any] = {
            "event_id": f"{self._run}.{next(self._serial):x}",
            "type": "impression",
            "ts": ts_ms,
            "campaign_id": demand.campaign_id,
            "creative_id": f"{demand.campaign_id}-{'abcdefgh'[creative % 8]}",
            "placement_id": f"p{int(rng.integers(12))}",
            "channel": demand.channel,
            "platform": demand.platform,
            "user_id": f"u{person}",
            "country": COUNTRIES[int(len(COUNTRIES) * rng.random() ** 2)],
            "device": DEVICES[int(np.searchsorted(np.cumsum(_DEVICE_SHARE), rng.random()).clip(0, 2))],
            "cost_micros": round(price_cpm_micros / 1_000),
        }
        # The first creative does best, so that there is something to find.
        if rng.random() < demand.ctr * (1.5, 1.0, 0.5)[creative % 3]:
            self._respond(demand, event)
        return event

    def _respond(self, demand: Demand, impression: dict[str, Any]) -> None:
        rng = self._rng
        click = self._follow(impression, "click", demand.click_delay_s, impression_id=impression["event_id"])
        if rng.random() >= demand.cvr:
            return
        if rng.random() < demand.lead_share:
            person = click["user_id"]
            self._follow(
                click, "lead", demand.conversion_delay_s, click_id=click["event_id"],
                lead={"email": f"{person}@example.com", "source": "form", "form_seconds": float(rng.integers(8, 90))},
            )  # fmt: skip
            return
        value = round(demand.order_value_micros * float(rng.lognormal(0.0, 0.4)))
        self._follow(click, "conversion", demand.conversion_delay_s, click_id=click["event_id"], revenue_micros=value)

    def _follow(self, cause: dict[str, Any], kind: str, delay_s: float, **fields: Any) -> dict[str, Any]:
        ts_ms = cause["ts"] + 200 + round(1_000 * float(self._rng.exponential(delay_s)))
        kept = {k: v for k, v in cause.items() if k not in ("cost_micros", "impression_id", "click_id")}
        event = {**kept, "event_id": f"{self._run}.{next(self._serial):x}", "type": kind, "ts": ts_ms, **fields}
        if len(self._pending) < PENDING_MAX:
            heapq.heappush(self._pending, _Due(ts_ms, next(self._serial), event))
        return event
