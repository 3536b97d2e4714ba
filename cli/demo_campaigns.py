"""The twelve campaigns of the demonstration: different sizes, markets, goals and ailments."""

from __future__ import annotations

from typing import Any, Final

from ingest.market import Demand

# The campaign whose budget is set so that it is reached within two minutes of every start.
FLASH: Final = "flash-deal"
FLASH_SECONDS: Final = 90


def _campaign(
    campaign_id: str, name: str, currency: str, zone: str, daily_units: int | None, bid_units: float, **more: Any
) -> dict[str, Any]:
    strategy = more.pop("strategy", "manual")
    goal = more.pop("goal", {})
    bidding: dict[str, Any] = {"strategy": strategy, "bid_micros": round(bid_units * 1_000_000), **goal}
    return {
        "campaign_id": campaign_id,
        "name": name,
        "currency": currency,
        "time_zone": zone,
        "daily_budget_micros": None if daily_units is None else daily_units * 1_000_000,
        "bidding": bidding,
        **more,
    }


# Bids and prices are CPM in whole currency units here, micros on the wire.
CAMPAIGNS: Final[tuple[dict[str, Any], ...]] = (
    _campaign("spring-sale", "Spring sale", "USD", "America/New_York", 9_000, 3.2, strategy="max_conversions"),
    _campaign(FLASH, "Flash deal, today only", "USD", "America/New_York", 1, 6.0, goal={"pacing": "asap"}),
    _campaign("brand-video", "Brand film", "EUR", "Europe/Berlin", 6_000, 9.0, weekly_budget_micros=40_000 * 10**6),
    _campaign("app-installs", "App installs", "USD", "America/Los_Angeles", 4_000, 2.4, strategy="max_clicks"),
    _campaign("retargeting", "Cart retargeting", "EUR", "Europe/Paris", 2_500, 4.5, strategy="target_roas",
              goal={"target_roas": 4.0}),
    _campaign("b2b-leads", "B2B leads", "GBP", "Europe/London", 1_200, 14.0),
    _campaign("new-checkout", "New checkout (tracking broke)", "USD", "America/Chicago", 3_000, 3.0),
    _campaign("generic-search", "Generic search terms", "USD", "UTC", 2_000, 30.0, strategy="target_cpa",
              goal={"target_cpa_micros": 40_000_000}),
    _campaign("newsletter", "Newsletter placements", "EUR", "Europe/Madrid", 400, 1.5),
    _campaign("tokyo-nights", "Tokyo nights", "JPY", "Asia/Tokyo", 300_000, 260.0),
    _campaign("corner-shop", "Corner shop", "EUR", "Europe/Berlin", 25, 2.0, total_budget_micros=5_000 * 10**6),
    _campaign("summer-launch", "Summer launch", "USD", "UTC", 5_000, 3.0),
)  # fmt: skip

MARKET: Final = (
    Demand("spring-sale", 55, 2_600_000, 0.5, 0.011, 0.060, 38_000_000, "America/New_York", audience=900_000),
    Demand(FLASH, 30, 4_500_000, 0.4, 0.030, 0.080, 24_000_000, "America/New_York", "social", "facebook"),
    Demand("brand-video", 30, 8_000_000, 0.5, 0.002, 0.010, 30_000_000, "Europe/Berlin", "video", "google"),
    Demand("app-installs", 45, 2_000_000, 0.6, 0.025, 0.120, 4_000_000, "America/Los_Angeles", "social", "tiktok"),
    Demand("retargeting", 12, 4_000_000, 0.5, 0.040, 0.150, 62_000_000, "Europe/Paris", audience=6_000),
    Demand("b2b-leads", 5, 12_000_000, 0.4, 0.008, 0.150, 0, "Europe/London", "social", "linkedin", lead_share=1.0),
    Demand("new-checkout", 25, 2_800_000, 0.5, 0.012, 0.0, 45_000_000, "America/Chicago"),
    Demand("generic-search", 8, 26_000_000, 0.5, 0.030, 0.020, 35_000_000, "UTC", "search", "google"),
    Demand("newsletter", 10, 1_300_000, 0.4, 0.015, 0.040, 20_000_000, "Europe/Madrid", "email", "other"),
    Demand("tokyo-nights", 15, 240_000_000, 0.5, 0.010, 0.050, 4_200_000_000, "Asia/Tokyo"),
    Demand("corner-shop", 2, 1_800_000, 0.5, 0.014, 0.050, 15_000_000, "Europe/Berlin", audience=4_000),
)
