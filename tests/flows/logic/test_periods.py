"""Days and weeks where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import _zoneinfo, available_timezones  # type: ignore[attr-defined]

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.logic.budgets.periods import day_bounds, day_from, week_bounds, week_from
from schemas.events import TS_MS_MAX, TS_MS_MIN
from schemas.zones import zone_of

HOUR_MS = 3_600_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Cairo", "America/Havana", "Asia/Kathmandu"]


def at(zone: str, *parts: int) -> int:
    return round(datetime(*parts, tzinfo=zone_of(zone)).timestamp() * 1_000)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        pytest.param("Europe/Berlin", (2026, 3, 29), 23, id="clocks go forward in Berlin"),
        pytest.param("Europe/Berlin", (2026, 10, 25), 25, id="clocks go back in Berlin"),
        pytest.param("America/New_York", (2026, 3, 8), 23, id="clocks go forward in New York"),
        pytest.param("America/New_York", (2026, 11, 1), 25, id="clocks go back in New York"),
        pytest.param("Africa/Cairo", (2026, 4, 24), 23, id="midnight itself is skipped in Cairo"),
        pytest.param("Asia/Kolkata", (2026, 3, 29), 24, id="no clock change in India"),
    ],
)
def test_a_day_has_the_hours_of_its_calendar(zone: str, day: tuple[int, int, int], hours: int) -> None:
    noon = at(zone, *day, 12)
    start, end = day_bounds(zone, noon)
    assert (end - start) // HOUR_MS == hours
    assert day_from(zone, start) == end


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.integers(TS_MS_MIN, TS_MS_MAX))
def test_every_instant_is_in_its_day_and_week_and_days_join(zone: str, ts_ms: int) -> None:
    start, end = day_bounds(zone, ts_ms)
    assert start <= ts_ms < end
    assert day_bounds(zone, end)[0] == end == day_bounds(zone, start)[1]
    monday, next_monday = week_bounds(zone, ts_ms)
    assert monday <= start < next_monday
    assert week_bounds(zone, next_monday)[0] == next_monday == week_from(zone, monday)
    assert datetime.fromtimestamp(monday // 1_000, UTC).astimezone(zone_of(zone)).weekday() == 0


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(ZONES), st.integers(TS_MS_MIN, TS_MS_MAX))
def test_the_day_between_two_time_zones_has_twelve_to_thirty_seven_hours(old: str, new: str, ts_ms: int) -> None:
    ends = day_bounds(old, ts_ms)[1]
    assert 12 * HOUR_MS <= day_from(new, ends) - ends <= 37 * HOUR_MS
    assert day_bounds(new, day_from(new, ends))[0] == day_from(new, ends)


def test_no_zone_changes_within_a_minute_in_the_time_of_events() -> None:
    """What makes it right to remember the local date of a whole minute."""
    for name in available_timezones():
        zone: Any = _zoneinfo.ZoneInfo.no_cache(name)
        befores = [zone._tti_before, *zone._ttinfos]
        for instant_s, before, after in zip(zone._trans_utc, befores, zone._ttinfos, strict=False):
            if instant_s * 1_000 > TS_MS_MIN and before.utcoff != after.utcoff:
                assert instant_s % 60 == after.utcoff.total_seconds() % 60 == 0, name
