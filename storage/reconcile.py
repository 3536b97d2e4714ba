"""Closed windows computed again from raw events, for events that came after the windows had closed.

The new row's version is the number of events it counts, so it replaces the dataflow's row, which counted fewer, and is
replaced by nothing that counted fewer still: doing it twice, or in whatever order, ends the same. Reach is counted
exactly here, and estimated by the dataflow.

Raw events expire before windows do. A row carries the time at which the oldest event it counts was stored; once events
that old may have expired, the window stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from string import Template
from typing import Final

from schemas.kpis import WIDTH_MS, Level, Window
from storage.client import Client

# Windows of one kind in one statement: the list stands in its text, and a text has a limit (max_query_size).
WINDOWS_MAX: Final = 1_000
# How long before its expiry a raw event is no longer relied on.
_EXPIRY_MARGIN_DAYS: Final = 1
# No day is longer, also not where a time zone changes.
_DAY_MS_MAX: Final = 36 * 3_600_000
# Daily rows looked at when days of one campaign lie over one another; of more, the newest.
_OVERLAPPING_MAX: Final = 10_000

_RECOMPUTE: Final = Template((resources.files("storage") / "sql" / "recompute.sql").read_text())
_INSERT: Final = (
    "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, creative_id, channel,"
    " country, device, impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach, version,"
    " stored_at)\n"
)
_DIMENSIONS: Final = {
    Level.CAMPAIGN: "'' AS creative_id, '' AS channel, '' AS country, '' AS device",
    Level.SERIES: "creative_id, channel, country, device",
}
# (bound, wanted) of windows of one width, and of windows of any.
_FIXED: Final = (
    "(intDiv(toUnixTimestamp64Milli(ts), $width) * $width AS s, s + $width)",
    "bound.1 IN $starts",
)
_BOUNDED: Final = (
    "arrayFirst(b -> toUnixTimestamp64Milli(ts) >= b.1 AND toUnixTimestamp64Milli(ts) < b.2, arrayZip($starts, $ends))",
    "bound.2 > 0",
)
_DAYS: Final = """
SELECT toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end)
FROM kpi_windows FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND level = 'campaign' AND window = 'day'
    AND window_end > fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND window_start <= fromUnixTimestamp64Milli({high:Int64}, 'UTC')
"""

# Days of campaigns of which some begin before the one before has ended: the dataflow cuts none like that.
_OVERLAPPING: Final = """
WITH days AS
(
    SELECT org_id, campaign_id, toUnixTimestamp64Milli(window_start) AS day_start,
        toUnixTimestamp64Milli(window_end) AS day_end
    FROM kpi_windows FINAL
    WHERE level = 'campaign' AND window = 'day'
)
SELECT org_id, campaign_id, day_start, day_end
FROM days
WHERE (org_id, campaign_id) IN
(
    SELECT org_id, campaign_id
    FROM
    (
        SELECT org_id, campaign_id, day_start,
            max(day_end) OVER (PARTITION BY org_id, campaign_id ORDER BY day_start
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ended
        FROM days
    )
    WHERE day_start < ended
)
ORDER BY day_start DESC
LIMIT {limit:UInt64}
"""
_FORGET: Final = """
DELETE FROM kpi_windows
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND window = 'day'
    AND window_start = fromUnixTimestamp64Milli({day_start:Int64}, 'UTC')
    AND window_end = fromUnixTimestamp64Milli({day_end:Int64}, 'UTC')
"""

Moments = Iterable[int]
Day = tuple[int, int]
# (org_id, campaign_id, ts_ms) -> start and end of the campaign's day.
DayBounds = Callable[[str, str, int], tuple[int, int]]


def _select(window: Window, level: Level, bounds: Sequence[tuple[int, int]]) -> str:
    width = WIDTH_MS.get(window)
    bound, wanted = _BOUNDED if width is None else _FIXED
    numbers = {
        "width": width,
        "starts": [start for start, _ in bounds],
        "ends": [end for _, end in bounds],
        "low": bounds[0][0],
        "high": bounds[-1][1],
    }
    return _RECOMPUTE.substitute(
        numbers,
        level=level.value,
        window=window.value,
        dimensions=_DIMENSIONS[level],
        bound=Template(bound).substitute(numbers),
        wanted=Template(wanted).substitute(numbers),
    )


class Reconciliation:
    """Computes the windows of late events again."""

    def __init__(self, client: Client, *, raw_ttl_days: int, day_bounds: DayBounds) -> None:
        self._client = client
        self._safe_days = max(0, raw_ttl_days - _EXPIRY_MARGIN_DAYS)
        self._day_bounds = day_bounds

    def recompute(self, org_id: str, campaign_id: str, moments_ms: Moments) -> int:
        """Every window of the campaign, of both levels, that one of the moments falls in; returns how many windows.

        The late events themselves must be in `events`. Raises the client's exceptions; safe to do again.
        """
        moments = sorted(set(moments_ms))
        bounds = {window: self._bounds(org_id, campaign_id, window, moments) for window in Window}
        # One statement, and so one part of the table, for windows of every kind.
        for start in range(0, max(map(len, bounds.values())), WINDOWS_MAX):
            selects = [
                _select(window, level, some)
                for window, all_ in bounds.items()
                if (some := all_[start : start + WINDOWS_MAX])
                for level in Level
            ]
            parameters = {"org_id": org_id, "campaign_id": campaign_id, "safe_days": self._safe_days}
            self._client.command(_INSERT + "\nUNION ALL\n".join(selects), parameters=parameters)
        return sum(map(len, bounds.values()))

    def _bounds(self, org_id: str, campaign_id: str, window: Window, moments: Sequence[int]) -> list[tuple[int, int]]:
        width = WIDTH_MS.get(window)
        if width is not None:
            starts = sorted({moment - moment % width for moment in moments})
            return [(start, start + width) for start in starts]
        # Days as the dataflow has cut them; a change of time zone made some of them longer or shorter.
        low, high = moments[0] - _DAY_MS_MAX, moments[-1] + _DAY_MS_MAX
        parameters = {"org_id": org_id, "campaign_id": campaign_id, "low": low, "high": high}
        known = [tuple(row) for row in self._client.query(_DAYS, parameters=parameters).result_rows]
        return sorted({self._day(org_id, campaign_id, moment, known) for moment in moments})

    def _day(self, org_id: str, campaign_id: str, moment: int, known: Sequence[Day]) -> Day:
        """The known day that holds the moment; else that of the time zone, as far as no known day has it."""
        there = next((day for day in known if day[0] <= moment < day[1]), None)
        if there is not None:
            return there
        start, end = self._day_bounds(org_id, campaign_id, moment)
        before = max((day[1] for day in known if day[1] <= moment), default=start)
        after = min((day[0] for day in known if day[0] > moment), default=end)
        return max(start, before), min(end, after)

    def mend_days(self) -> int:
        """Where days of a campaign lie over one another, one of them was cut by another time zone than the dataflow's:
        such a row is removed, and the days it touched are counted again. Returns how many rows were removed.

        Raises the client's exceptions; safe to do again.
        """
        campaigns: dict[tuple[str, str], list[Day]] = {}
        rows = self._client.query(_OVERLAPPING, parameters={"limit": _OVERLAPPING_MAX}).result_rows
        for org_id, campaign_id, start, end in rows:
            campaigns.setdefault((org_id, campaign_id), []).append((start, end))
        return sum(self._mend(*campaign, sorted(days)) for campaign, days in campaigns.items())

    def _mend(self, org_id: str, campaign_id: str, days: Sequence[Day]) -> int:
        wrong = wrong_days(days, lambda ts_ms: self._day_bounds(org_id, campaign_id, ts_ms))
        for start, end in wrong:
            named = {"org_id": org_id, "campaign_id": campaign_id, "day_start": start, "day_end": end}
            self._client.command(_FORGET, parameters=named)
        if wrong:
            # The first and the last moment of each, and of the days beside it, cover all days it touched.
            self.recompute(org_id, campaign_id, {moment for start, end in wrong for moment in (start, end - 1)})
        return len(wrong)


def wrong_days(days: Sequence[Day], cut: Callable[[int], Day]) -> list[Day]:
    """The days, sorted, that lie over one which `cut` (moment -> its day) would cut like that, and are not such.

    >>> wrong_days([(0, 24), (15, 39), (39, 63)], lambda ts: ((ts - 15) // 24 * 24 + 15, (ts - 15) // 24 * 24 + 39))
    [(0, 24)]
    """
    right = [day for day in days if cut(day[0]) == day]
    return [day for day in days if cut(day[0]) != day and any(day[0] < end and start < day[1] for start, end in right)]
