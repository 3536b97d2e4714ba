"""What happens in a simulated market, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.campaigns import Bidding
from schemas.zones import zone_of

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000

# Share of a day's traffic by local hour: quiet nights, a peak in the evening.
DAILY_RHYTHM: Final = (
    *(0.022, 0.014, 0.010, 0.008, 0.009, 0.014, 0.024, 0.036, 0.045, 0.049, 0.051, 0.052),
    *(0.053, 0.051, 0.049, 0.048, 0.049, 0.052, 0.058, 0.066, 0.073, 0.070, 0.057, 0.040),
)


@dataclass(frozen=True, slots=True)
class Shift:
    """From one moment to another (ms from the start) a market's number is multiplied."""

    from_ms: int
    until_ms: int
    factor: float

    def at(self, elapsed_ms: int) -> float:
        return self.factor if self.from_ms <= elapsed_ms < self.until_ms else 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A market and a campaign in it. Rates are per impression and per click; prices are CPM micros."""

    name: str
    says: str
    start_ms: int = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1_000)
    days: int = 4
    time_zone: str = "UTC"
    auctions_a_day: float = 1_200_000.0
    price_micros: float = 2_000_000.0
    price_sigma: float = 0.7
    # The market's level wanders by this much (log, a day).
    price_wander: float = 0.10
    click_rate: float = 0.02
    conversion_rate: float = 0.10
    conversion_delay_ms: float = 2.0 * HOUR_MS
    revenue_micros: float = 20_000_000.0
    daily_budget_micros: int = 450_000_000
    first_price: bool = False
    # From a decision to its effect in the auctions, and from a win to its report.
    decision_latency_ms: int = 60_000
    report_latency_ms: int = 30_000
    traffic: tuple[Shift, ...] = ()
    prices: tuple[Shift, ...] = ()
    budgets: tuple[Shift, ...] = ()
    # Conversions in these spans are never reported.
    untracked: tuple[tuple[int, int], ...] = field(default=())

    @property
    def end_ms(self) -> int:
        """The local midnight that ends the last day."""
        start = datetime.fromtimestamp(self.start_ms / 1_000, UTC).astimezone(zone_of(self.time_zone))
        return round((start + timedelta(days=self.days)).timestamp() * 1_000)


def _on_day(day: int, hour: float) -> int:
    return round(day * DAY_MS + hour * HOUR_MS)


_BERLIN: Final = round(datetime(2026, 3, 27, tzinfo=zone_of("Europe/Berlin")).timestamp() * 1_000)

SCENARIOS: Final = {
    s.name: s
    for s in (
        Scenario("steady", "an ordinary market, second price"),
        Scenario("steady_first_price", "an ordinary market, first price", first_price=True),
        Scenario(
            "demand_shock",
            "traffic triples for six hours on day 3",
            traffic=(Shift(_on_day(2, 12), _on_day(2, 18), 3.0),),
        ),
        Scenario(
            "price_war",
            "competitors bid double from noon of day 2 to noon of day 3",
            prices=(Shift(_on_day(1, 12), _on_day(2, 12), 2.0),),
        ),
        Scenario(
            "traffic_drop",
            "half the traffic from noon of day 3 to the end",
            traffic=(Shift(_on_day(2, 12), _on_day(9, 0), 0.5),),
        ),
        Scenario(
            "budget_cut",
            "the daily budget is cut to 60% at noon of day 3",
            budgets=(Shift(_on_day(2, 12), _on_day(9, 0), 0.6),),
        ),
        Scenario(
            "broken_tracking",
            "no conversion is reported from noon to midnight of day 3",
            untracked=((_on_day(2, 12), _on_day(3, 0)),),
        ),
        Scenario(
            "clock_change",
            "day 3 has 23 hours (Europe/Berlin, 2026-03-29)",
            start_ms=_BERLIN,
            time_zone="Europe/Berlin",
        ),
    )
}

# What each strategy is asked for in these markets.
BIDDINGS: Final = {
    "manual": Bidding(strategy="manual", bid_micros=1_500_000),
    "max_clicks": Bidding(strategy="max_clicks", bid_micros=1_000_000),
    "max_conversions": Bidding(strategy="max_conversions", bid_micros=1_000_000),
    "target_cpa": Bidding(strategy="target_cpa", bid_micros=1_000_000, target_cpa_micros=450_000),
    "target_roas": Bidding(strategy="target_roas", bid_micros=1_000_000, target_roas=44.0),
}
