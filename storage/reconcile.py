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

Moments = Iterable[int]
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
        parameters = {"org_id": org_id, "campaign_id": campaign_id, "low": moments[0], "high": moments[-1]}
        known = [tuple(row) for row in self._client.query(_DAYS, parameters=parameters).result_rows]
        days = set()
        for moment in moments:
            there = next((day for day in known if day[0] <= moment < day[1]), None)
            days.add(there or self._day_bounds(org_id, campaign_id, moment))
        return sorted(days)
