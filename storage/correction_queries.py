"""Named queries on corrections: what the api and the command read from ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template
from typing import Any, Final

from storage.queries import KpiReader

# Ids in one question: parameters stand in an address.
_IDS_MAX: Final = 200
_COLUMNS: Final = """correction_id, org_id, campaign_id, toUnixTimestamp64Milli(ts) AS ts_ms, cause, grain, creative_id,
    channel, country, device, event_id, impressions, clicks, conversions, leads, spend_micros, revenue_micros,
    noted_by AS by, toUnixTimestamp64Milli(noted) AS noted_ms, note, toUnixTimestamp64Milli(applied) AS applied_ms,
    late = 1 AS late, refused = 1 AS refused"""
_COUNTERS: Final = ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros")
_SUMS: Final = ", ".join(f"toInt64(sum({name})) AS {name}" for name in _COUNTERS)
_DAYS: Final = """
FROM kpi_windows FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND level = 'campaign' AND window = 'day'
    AND window_end > fromUnixTimestamp64Milli({low_ms:Int64}, 'UTC')
    AND window_start <= fromUnixTimestamp64Milli({high_ms:Int64}, 'UTC')
"""
_PARTS: Final = {"columns": _COLUMNS, "sums": _SUMS, "days": _DAYS}
_BY_ID: Final = Template("""
SELECT $columns
FROM corrections FINAL
WHERE org_id = {org_id:String} AND correction_id IN {ids:Array(String)}
""").substitute(_PARTS)
_NEWEST: Final = Template("""
SELECT $columns
FROM corrections FINAL
WHERE org_id = {org_id:String} AND ({campaign_id:String} = '' OR campaign_id = {campaign_id:String})
    AND ({cause:String} = '' OR cause = {cause:String})
    AND (toUnixTimestamp64Milli(corrections.applied), correction_id) < ({before_ms:Int64}, {before_id:String})
ORDER BY corrections.applied DESC, correction_id DESC
LIMIT {limit:UInt64}
""").substitute(_PARTS)
_CORRECTED: Final = Template("""
SELECT $sums, count() AS corrections
FROM (SELECT * FROM corrections FINAL)
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} AND refused = 0
    AND ts >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND ts < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
""").substitute(_PARTS)
_SPENDS: Final = Template("""
SELECT toUnixTimestamp64Milli(window_start) AS low, toUnixTimestamp64Milli(window_end) AS high, spend_micros
$days ORDER BY window_start
""").substitute(_PARTS)
_NOW: Final = Template("""
SELECT $sums, toUnixTimestamp64Milli(min(window_start)) AS from_ms, toUnixTimestamp64Milli(max(window_end)) AS to_ms,
    count() AS days
FROM (SELECT * $days)
""").substitute(_PARTS)
_ANY: Final = """
SELECT 1 AS found FROM kpi_windows WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String} LIMIT 1
"""


class CorrectionReader(KpiReader):
    """Reads corrections, and the days that they change. As `KpiReader`."""

    def corrections_by_id(self, org_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The corrections with these ids, in no order."""
        return [row for some in _pieces(ids) for row in self._rows(_BY_ID, {"org_id": org_id, "ids": some})]

    def corrections(
        self, org_id: str, campaign_id: str, cause: str, before: tuple[int, str], limit: int
    ) -> list[dict[str, Any]]:
        """Corrections of a campaign (empty: of all), those applied last first, from before (applied_ms, id) on."""
        named = {"org_id": org_id, "campaign_id": campaign_id, "cause": cause, "limit": limit}
        return self._rows(_NEWEST, named | {"before_ms": before[0], "before_id": before[1]})

    def corrected(
        self, org_id: str, campaign_id: str, from_ms: int, to_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The sums of a campaign's days that touch [from_ms, to_ms) as they are now, `from_ms` and `to_ms` of them and
        their number `days`; and of the corrections in these days, with their number `corrections`."""
        named: dict[str, Any] = {"org_id": org_id, "campaign_id": campaign_id}
        now = self._rows(_NOW, named | {"low_ms": from_ms, "high_ms": to_ms - 1})[0]
        begin, end = (now["from_ms"], now["to_ms"]) if now["days"] else (from_ms, to_ms)
        span: dict[str, Any] = {"from_ms": begin, "to_ms": end}
        return now, self._rows(_CORRECTED, named | span)[0]

    def spend_of_days(self, org_id: str, campaign_id: str, low_ms: int, high_ms: int) -> list[tuple[int, int, int]]:
        """Start and end (ms) and spend (micros) of the campaign's days that touch [low_ms, high_ms]."""
        named = {"org_id": org_id, "campaign_id": campaign_id, "low_ms": low_ms, "high_ms": high_ms}
        return [(row["low"], row["high"], row["spend_micros"]) for row in self._rows(_SPENDS, named)]

    def has_campaign(self, org_id: str, campaign_id: str) -> bool:
        """Whether anything was ever counted for the campaign."""
        return bool(self._rows(_ANY, {"org_id": org_id, "campaign_id": campaign_id}))


def _pieces(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IDS_MAX):
        yield list(ids[start : start + _IDS_MAX])
