"""Traffic by hour of the week, learned from a campaign's own history.

The expected traffic of an hour of the week is shrunk towards that hour of any day, and that towards the mean of all
hours, each by the weight of some hours seen: a campaign's first day is steered by the clock, its second by its daily
rhythm, its third week by its weekly one. Days follow the campaign's time zone, so a day of 23 or 25 hours has the
traffic of its own hours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.campaigns import HOURS_OF_WEEK
from schemas.zones import zone_of

_HALF_HOUR_MS: Final = 1_800_000
_WEEK_HALF_HOURS: Final = 336
_HOUR_MS: Final = 3_600_000
# Each new hour of the same kind leaves this much weight to the past: some three weeks count.
_KEPT: Final = 0.7
# Hours that the prior weighs at each level.
_PRIOR_HOURS: Final = 0.5


class Traffic(msgspec.Struct):
    """Decayed traffic and decayed hours seen, by hour of the week (0 = Monday 00:00 local)."""

    count: list[float] = msgspec.field(default_factory=lambda: [0.0] * HOURS_OF_WEEK)
    hours: list[float] = msgspec.field(default_factory=lambda: [0.0] * HOURS_OF_WEEK)
    # The hour being filled; when it changes, its past is decayed.
    filling: int = -1

    def copy(self) -> Traffic:
        return Traffic(list(self.count), list(self.hours), self.filling)


def hour_of_week(ts_ms: int, time_zone: str) -> int:
    """Hour of the local week, 0 to 167.

    >>> hour_of_week(1_767_571_200_000, "UTC")  # Monday, 2026-01-05 00:00
    0
    """
    local = datetime.fromtimestamp(ts_ms / 1_000, UTC).astimezone(zone_of(time_zone))
    return local.weekday() * 24 + local.hour


@lru_cache(maxsize=8_192)
def _hours_by_kind(first: int, last: int, time_zone: str) -> NDArray[np.float64]:
    """How many hours of each hour of the week lie in the half-hours [first, last) since 1970; at most one week."""
    hours = np.zeros(HOURS_OF_WEEK)
    for half_hour in range(first, last):
        hours[hour_of_week(half_hour * _HALF_HOUR_MS, time_zone)] += 0.5
    return hours


def hours_between(start_ms: int, end_ms: int, time_zone: str) -> NDArray[np.float64]:
    """Hours of each hour of the week in [start_ms, end_ms); shape (168,)."""
    hours = np.zeros(HOURS_OF_WEEK)
    if end_ms <= start_ms:
        return hours
    weeks, rest_ms = divmod(end_ms - start_ms, 7 * 24 * _HOUR_MS)
    hours += float(weeks)
    stop_ms = start_ms + rest_ms
    first, last = start_ms // _HALF_HOUR_MS, stop_ms // _HALF_HOUR_MS
    hours += _hours_by_kind(first, last, time_zone)
    # The pieces before `first`'s end and after `last`'s start.
    hours[hour_of_week(start_ms, time_zone)] -= (start_ms - first * _HALF_HOUR_MS) / _HOUR_MS
    hours[hour_of_week(stop_ms, time_zone)] += (stop_ms - last * _HALF_HOUR_MS) / _HOUR_MS
    return np.maximum(hours, 0.0)


def learn_traffic(traffic: Traffic, start_ms: int, end_ms: int, count: float, time_zone: str) -> Traffic:
    """Traffic after `count` was seen in [start_ms, end_ms); a span over an hour is spread evenly over its hours."""
    if end_ms <= start_ms:
        return traffic
    after = traffic.copy()
    at_ms = max(start_ms, end_ms - 7 * 24 * _HOUR_MS)
    per_ms = count / (end_ms - start_ms)
    while at_ms < end_ms:
        kind = hour_of_week(at_ms, time_zone)
        stop_ms = min((at_ms // _HALF_HOUR_MS + 1) * _HALF_HOUR_MS, end_ms)
        if kind != after.filling:
            after.count[kind] *= _KEPT
            after.hours[kind] *= _KEPT
            after.filling = kind
        after.count[kind] += per_ms * (stop_ms - at_ms)
        after.hours[kind] += (stop_ms - at_ms) / _HOUR_MS
        at_ms = stop_ms
    return after


def hourly_rates(traffic: Traffic, day_parts: frozenset[int] | None = None) -> NDArray[np.float64]:
    """Expected traffic of each hour of the week, in mean hours: 1 is the average over the week; shape (168,).

    Hours outside the day parts have none. Only the shape is given, because the level of what is counted (auctions,
    impressions) becomes known only after a campaign began. Nothing seen: 1 everywhere, so that shares follow the clock.
    """
    count, hours = np.array(traffic.count), np.array(traffic.hours)
    total = hours.sum()
    mean = count.sum() / total if total > 0.0 and count.sum() > 0.0 else 1.0
    # By hour of day: what hours of this time of day had, relative to the mean.
    day_count, day_hours = count.reshape(7, 24).sum(axis=0), hours.reshape(7, 24).sum(axis=0)
    by_day_hour = (day_count + _PRIOR_HOURS * mean) / (day_hours + _PRIOR_HOURS)
    rates: NDArray[np.float64] = (count + _PRIOR_HOURS * np.tile(by_day_hour, 7)) / (hours + _PRIOR_HOURS)
    rates /= rates.mean()
    if day_parts is not None:
        rates = np.where(np.isin(np.arange(HOURS_OF_WEEK), list(day_parts)), rates, 0.0)
    return rates


def expected_traffic(rates: NDArray[np.float64], start_ms: int, end_ms: int, time_zone: str) -> float:
    """Expected traffic in [start_ms, end_ms) under hourly rates."""
    return float(rates @ hours_between(start_ms, end_ms, time_zone))
