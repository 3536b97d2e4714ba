"""KPI windows: counters, the rates derived from them, and the columnar record of topic `kpis`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Window(StrEnum):
    """Tumbling windows. `DAY` is the campaign's day in its own time zone (23, 24 or 25 hours)."""

    TEN_SECONDS = "10s"
    MINUTE = "1m"
    HOUR = "1h"
    DAY = "day"


class Level(StrEnum):
    """`campaign`: one row a campaign, all dimensions empty. `series`: by creative, channel, country and device."""

    CAMPAIGN = "campaign"
    SERIES = "series"


WIDTH_MS: Final = {Window.TEN_SECONDS: 10_000, Window.MINUTE: 60_000, Window.HOUR: 3_600_000}
# Rolling windows and the step at which each moves on.
ROLLING_MS: Final = {
    "1m": (60_000, 10_000),
    "5m": (300_000, 10_000),
    "1h": (3_600_000, 60_000),
    "24h": (86_400_000, 3_600_000),
}
ALLOWED_LATENESS_MS: Final = 600_000


class Counters(msgspec.Struct, kw_only=True):
    """What is counted in a window. `reach` estimates distinct actors."""

    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    leads: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0
    reach: int = 0


class Rates(msgspec.Struct, kw_only=True):
    """Derived from counters; None where the denominator is zero."""

    ctr: float | None
    cvr: float | None
    cpm_micros: float | None
    cpc_micros: float | None
    cpa_micros: float | None
    roas: float | None
    frequency: float | None


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def rates(c: Counters) -> Rates:
    """CTR = clicks/impressions, CVR = conversions/clicks, CPM, CPC and CPA in micros, ROAS = revenue/spend,
    frequency = impressions/reach. Undefined rates are None and not 0.

    >>> r = rates(Counters(impressions=2000, clicks=10, spend_micros=5_000_000))
    >>> r.ctr, r.cpc_micros, r.cpm_micros, r.cvr, r.cpa_micros, r.roas
    (0.005, 500000.0, 2500000.0, 0.0, None, 0.0)
    """
    return Rates(
        ctr=_ratio(c.clicks, c.impressions),
        cvr=_ratio(c.conversions, c.clicks),
        cpm_micros=_ratio(1_000 * c.spend_micros, c.impressions),
        cpc_micros=_ratio(c.spend_micros, c.clicks),
        cpa_micros=_ratio(c.spend_micros, c.conversions),
        roas=_ratio(c.revenue_micros, c.spend_micros),
        frequency=_ratio(c.impressions, c.reach),
    )


class KpiBatch(msgspec.Struct, kw_only=True):
    """Some KPI windows as columns of equal length: one record of topic `kpis`.

    A window is keyed by (org_id, campaign_id, level, creative_id, channel, country, device, window, window_start_ms).
    `version` is the number of events folded into it: a later row of a key has a higher version, an equal version is
    the same row.
    """

    org_id: list[str]
    campaign_id: list[str]
    level: list[str]
    creative_id: list[str]
    channel: list[str]
    country: list[str]
    device: list[str]
    window: list[str]
    window_start_ms: list[int]
    window_end_ms: list[int]
    impressions: list[int]
    clicks: list[int]
    conversions: list[int]
    leads: list[int]
    spend_micros: list[int]
    revenue_micros: list[int]
    reach: list[int]
    version: list[int]

    def __len__(self) -> int:
        return len(self.version)


class Verdicts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the dataflow decided about events [first_offset, next_offset) of a partition: one record of `verdicts`.

    Each of `parts` campaign shards writes its own part; a span is complete when all parts are there. Offsets not
    listed were accepted. `late` ones were stored but came after their window had closed.
    """

    partition: int
    first_offset: int
    next_offset: int
    part: int = 0
    parts: int = 1
    duplicates: list[int] = []
    late: list[int] = []
    dead: list[int] = []
