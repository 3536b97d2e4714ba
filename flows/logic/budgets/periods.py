"""Days and weeks of a time zone, as instants. Daylight saving makes days of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from schemas.zones import zone_of

HOUR_MS: Final = 3_600_000


@lru_cache(maxsize=4_096)
def _midnight_ms(zone: str, ordinal: int) -> int:
    """The first instant of a local date (its number in the proleptic calendar)."""
    date = datetime.fromordinal(ordinal)
    # Where a clock change skips midnight, the offset before the change gives the instant of the change.
    return round(date.replace(tzinfo=zone_of(zone)).timestamp() * 1_000)


@lru_cache(maxsize=4_096)
def _ordinal_of_minute(zone: str, minute: int) -> int:
    """The local date of a minute since 1970: from 2000 on zones differ by whole minutes, and change at whole ones."""
    moment = datetime.fromtimestamp(60 * minute, UTC).astimezone(zone_of(zone))
    return moment.toordinal()


def _ordinal(zone: str, ts_ms: int) -> int:
    return _ordinal_of_minute(zone, ts_ms // 60_000)


def day_bounds(zone: str, ts_ms: int) -> tuple[int, int]:
    """Start and end (ms since 1970 UTC) of the local day that holds an instant.

    >>> start, end = day_bounds("Europe/Berlin", 1_774_738_800_000)  # 2026-03-29, clocks go forward
    >>> (end - start) // 3_600_000
    23
    """
    day = _ordinal(zone, ts_ms)
    return _midnight_ms(zone, day), _midnight_ms(zone, day + 1)


def week_bounds(zone: str, ts_ms: int) -> tuple[int, int]:
    """Start and end of the local ISO week, from Monday.

    >>> start, end = week_bounds("UTC", 1_774_738_800_000)
    >>> (end - start) // 86_400_000
    7
    """
    day = _ordinal(zone, ts_ms)
    monday = day - (day - 1) % 7
    return _midnight_ms(zone, monday), _midnight_ms(zone, monday + 7)


def day_from(zone: str, start_ms: int) -> int:
    """End of the day that begins at an instant: the first local midnight at least 12 hours later.

    On an ordinary day the next midnight. After a change of time zone the day in between has 12 to 36 hours.

    >>> day_from("UTC", 0) // 3_600_000, day_from("UTC", 20 * 3_600_000) // 3_600_000
    (24, 48)
    """
    return day_bounds(zone, start_ms + 12 * HOUR_MS - 1)[1]


def week_from(zone: str, start_ms: int) -> int:
    """End of the week that begins at an instant: the first local Monday midnight at least 84 hours later."""
    return week_bounds(zone, start_ms + 84 * HOUR_MS - 1)[1]
