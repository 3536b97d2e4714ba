"""Closed windows computed again from raw events and corrections, for what came after the windows had closed.

The new row's version is the number of events and corrections it counts, so it replaces the dataflow's row, which
counted fewer, and is replaced by nothing that counted fewer still: doing it twice, or in whatever order, ends the same.
Reach is counted exactly here, and estimated by the dataflow; corrections do not change it.

Raw events expire before windows do. A row carries the time at which the oldest event it counts was stored; once events
that old may have expired, the window stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
# How often days that the dataflow wrote meanwhile are looked for; each look finds the days of a moment before it.
_LOOKS_MAX: Final = 3
# Campaigns in one question: they stand in its text, and a text has a limit (max_query_size).
_CAMPAIGNS_MAX: Final = 500
# Daily rows looked at when days of one campaign lie over one another; of more, the newest.
_OVERLAPPING_MAX: Final = 10_000

_RECOMPUTE: Final = Template((resources.files(__package__) / "sql" / "recompute.sql").read_text())
_INSERT: Final = (
    "INSERT INTO kpi_windows (org_id, campaign_id, level, window, window_start, window_end, creative_id, channel,"
    " country, device, impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach, version,"
    " stored_at, log_offset)\n"
)
_DIMENSIONS: Final = {
    Level.CAMPAIGN: "'' AS creative_id, '' AS channel, '' AS country, '' AS device",
    Level.SERIES: "creative_id, channel, country, device",
}
# What nobody knows more exactly than by the day changes the campaign's days alone (`schemas.corrections.Grain`).
_GRAINS: Final = "'moment'"
_GRAINS_OF_DAYS: Final = "'moment', 'day'"
# (bound, wanted) of windows of one width, and of windows of any.
_FIXED: Final = (
    "(intDiv(toUnixTimestamp64Milli(ts), $width) * $width AS s, s + $width)",
    "bound.1 IN $starts",
)
_BOUNDED: Final = (
    "arrayFirst(b -> toUnixTimestamp64Milli(ts) >= b.1 AND toUnixTimestamp64Milli(ts) < b.2, arrayZip($starts, $ends))",
    "bound.2 > 0",
)
# Rows of the dataflow have a place in topic kpis, and so have those that replaced them; others were cut here.
_DAYS: Final = """
SELECT org_id, campaign_id, toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), log_offset >= 0
FROM kpi_windows FINAL
WHERE (org_id, campaign_id) IN %(campaigns)s AND level = 'campaign' AND window = 'day'
    AND window_end > fromUnixTimestamp64Milli(%(low)s, 'UTC')
    AND window_start <= fromUnixTimestamp64Milli(%(high)s, 'UTC')
"""

# Days of campaigns of which some begin before the one before has ended: the dataflow cuts none like that.
_OVERLAPPING: Final = """
WITH days AS
(
    SELECT org_id, campaign_id, toUnixTimestamp64Milli(window_start) AS day_start,
        toUnixTimestamp64Milli(window_end) AS day_end, log_offset >= 0 AS of_dataflow
    FROM kpi_windows FINAL
    WHERE level = 'campaign' AND window = 'day'
)
SELECT org_id, campaign_id, day_start, day_end, of_dataflow
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
Campaign = tuple[str, str]
Day = tuple[int, int]
# Stored days of a campaign, and whether the dataflow has cut each.
Days = Mapping[Day, bool]
# (org_id, campaign_id, ts_ms) -> start and end of the campaign's day.
DayBounds = Callable[[str, str, int], Day]


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
        grains=_GRAINS_OF_DAYS if (level, window) == (Level.CAMPAIGN, Window.DAY) else _GRAINS,
    )


class Reconciliation:
    """Computes the windows of late events again."""

    def __init__(self, client: Client, *, raw_ttl_days: int, day_bounds: DayBounds) -> None:
        self._client = client
        self._safe_days = max(0, raw_ttl_days - _EXPIRY_MARGIN_DAYS)
        self._day_bounds = day_bounds

    def recompute(self, org_id: str, campaign_id: str, moments_ms: Moments, days: Collection[Day] = ()) -> int:
        """Every window of the campaign, of both levels, that one of the moments falls in; returns how many windows.

        `days` are days of the dataflow that may not be stored yet. A stored day that was cut here and lies over one of
        the dataflow's gives way. The late events themselves must be in `events`. Raises the client's exceptions; safe
        to do again.
        """
        moments, campaign, windows = set(moments_ms), (org_id, campaign_id), 0
        for _ in range(_LOOKS_MAX):
            known = self.days([campaign], moments).get(campaign, {}) | dict.fromkeys(days, True)
            for day in (wrong := displaced(known)):
                self._forget(campaign, day)
                moments |= {day[0], day[1] - 1}
            right = sorted(known.keys() - set(wrong))
            bounds = {window: self._bounds(org_id, campaign_id, window, moments, right) for window in Window}
            self._insert(org_id, campaign_id, bounds)
            windows = sum(map(len, bounds.values()))
            # The dataflow's own row may have come between the question and the insert.
            if set(bounds[Window.DAY]) <= set(right) or not displaced(self.days([campaign], moments)[campaign]):
                break
        return windows

    def days(self, campaigns: Sequence[Campaign], moments_ms: Moments) -> dict[Campaign, dict[Day, bool]]:
        """The stored days of each campaign around the moments. Raises the client's exceptions."""
        moments = sorted(moments_ms)
        low, high = moments[0] - 3 * _DAY_MS_MAX, moments[-1] + 3 * _DAY_MS_MAX
        found: dict[Campaign, dict[Day, bool]] = {campaign: {} for campaign in campaigns}
        for start in range(0, len(campaigns), _CAMPAIGNS_MAX):
            some = tuple(campaigns[start : start + _CAMPAIGNS_MAX])
            parameters = {"campaigns": some, "low": low, "high": high}
            for org_id, campaign_id, *day, of_dataflow in self._client.query(_DAYS, parameters=parameters).result_rows:
                found[org_id, campaign_id][day[0], day[1]] = bool(of_dataflow)
        return found

    def _insert(self, org_id: str, campaign_id: str, bounds: Mapping[Window, Sequence[Day]]) -> None:
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

    def _forget(self, campaign: Campaign, day: Day) -> None:
        named = {"org_id": campaign[0], "campaign_id": campaign[1], "day_start": day[0], "day_end": day[1]}
        self._client.command(_FORGET, parameters=named)

    def _bounds(
        self, org_id: str, campaign_id: str, window: Window, moments: Moments, known: Sequence[Day]
    ) -> list[Day]:
        width = WIDTH_MS.get(window)
        if width is not None:
            starts = sorted({moment - moment % width for moment in moments})
            return [(start, start + width) for start in starts]
        # Days as the dataflow has cut them; a change of time zone made some of them longer or shorter.
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
        """Where days of a campaign lie over one another, one of them was not cut by the dataflow, or by another time
        zone than it uses: such a row is removed, and the days it touched are counted again. Returns how many rows were
        removed.

        Raises the client's exceptions; safe to do again.
        """
        campaigns: dict[Campaign, dict[Day, bool]] = {}
        rows = self._client.query(_OVERLAPPING, parameters={"limit": _OVERLAPPING_MAX}).result_rows
        for org_id, campaign_id, start, end, of_dataflow in rows:
            campaigns.setdefault((org_id, campaign_id), {})[start, end] = bool(of_dataflow)
        return sum(self._mend(*campaign, days) for campaign, days in campaigns.items())

    def _mend(self, org_id: str, campaign_id: str, days: Days) -> int:
        wrong = displaced(days)
        ours = sorted(day for day, of_dataflow in days.items() if not of_dataflow and day not in wrong)
        wrong += wrong_days(ours, lambda ts_ms: self._day_bounds(org_id, campaign_id, ts_ms))
        for day in wrong:
            self._forget((org_id, campaign_id), day)
        if wrong:
            # The first and the last moment of each, and of the days beside it, cover all days it touched.
            self.recompute(org_id, campaign_id, {moment for start, end in wrong for moment in (start, end - 1)})
        return len(wrong)


def displaced(days: Days) -> list[Day]:
    """The days that were cut here and lie over one that the dataflow has cut: it cut otherwise, and it is right.

    >>> displaced({(0, 24): True, (-2, 22): False, (24, 46): False})
    [(-2, 22)]
    """
    right = [day for day, of_dataflow in days.items() if of_dataflow]
    ours = sorted(day for day, of_dataflow in days.items() if not of_dataflow)
    return [day for day in ours if any(day[0] < end and start < day[1] for start, end in right)]


def wrong_days(days: Sequence[Day], cut: Callable[[int], Day]) -> list[Day]:
    """The days, sorted, that lie over one which `cut` (moment -> its day) would cut like that, and are not such.

    >>> wrong_days([(0, 24), (15, 39), (39, 63)], lambda ts: ((ts - 15) // 24 * 24 + 15, (ts - 15) // 24 * 24 + 39))
    [(0, 24)]
    """
    right = [day for day in days if cut(day[0]) == day]
    return [day for day in days if cut(day[0]) != day and any(day[0] < end and start < day[1] for start, end in right)]
