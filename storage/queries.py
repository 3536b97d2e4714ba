"""Named queries: what the api reads from ClickHouse."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.kpis import Level, Window
from storage.client import Client, connect

# A question of a page must be answered while somebody looks at it.
ANSWER_TIMEOUT_S: Final = 10.0

_WINDOWS: Final = """
SELECT creative_id, channel, country, device, window,
    toUnixTimestamp64Milli(window_start) AS window_start_ms, toUnixTimestamp64Milli(window_end) AS window_end_ms,
    impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach
FROM kpi_windows FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
    AND level = {level:String} AND window = {window:String}
    AND window_start >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    AND window_start < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY kpi_windows.window_start, creative_id, channel, country, device
LIMIT {limit:UInt64}
"""
_DECISIONS: Final = """
SELECT decision_id, org_id, campaign_id, kind, reason, toUnixTimestamp64Milli(ts) AS ts_ms,
    toUnixTimestamp64Milli(effective) AS effective_ms, before, after, inputs, policy, mode, expected, undo, cause_event,
    sequence
FROM decisions FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
    AND ts >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY if(sequence > 0, sequence, toUInt64(toUnixTimestamp64Milli(decisions.ts)) * 4096) DESC, decision_id
LIMIT {limit:UInt64}
"""
_TODAY: Final = """
SELECT org_id, campaign_id, name, currency, time_zone, toString(day) AS day,
    toUnixTimestamp64Milli(day_start) AS day_start_ms, toUnixTimestamp64Milli(day_end) AS day_end_ms,
    impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach, budget_utilisation
FROM campaign_today
WHERE org_id = {org_id:String}
ORDER BY campaign_id
"""
_EVENTS: Final = """
SELECT event_id, CAST(type AS String) AS type, toUnixTimestamp64Milli(ts) AS ts_ms, ad_group_id, creative_id,
    placement_id, publisher_id, keyword, channel, platform, user_id, device_id, ip, user_agent, country, region, device,
    referrer, impression_id, click_id, cost_micros, revenue_micros, lead, extra, late, log_partition, log_offset
FROM events FINAL
WHERE org_id = {org_id:String} AND campaign_id = {campaign_id:String}
    AND ts >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND ({type:String} = '' OR toString(type) = {type:String})
ORDER BY events.ts, event_id
LIMIT {limit:UInt64}
"""


class KpiReader:
    """Reads for pages. Blocking; safe to use from several threads. Connects when first asked, and again after errors.

    Raises clickhouse_connect's exceptions: OperationalError when ClickHouse is away, DatabaseError when it refuses.
    """

    def __init__(self, url: str, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._local = threading.local()

    def windows(
        self, org_id: str, campaign_id: str, window: Window, level: Level, from_ms: int, to_ms: int, limit: int
    ) -> list[dict[str, Any]]:
        """At most `limit` KPI windows that start in [from_ms, to_ms), oldest first: dimensions, bounds, counters."""
        span = {"from_ms": from_ms, "to_ms": to_ms, "limit": limit}
        named = {"org_id": org_id, "campaign_id": campaign_id, "window": window.value, "level": level.value}
        return self._rows(_WINDOWS, span | named)

    def decisions(self, org_id: str, campaign_id: str, from_ms: int, to_ms: int, limit: int) -> list[dict[str, Any]]:
        """Decisions caused in [from_ms, to_ms), the last taken first; `before`, `after`, `inputs`, `undo` are JSON."""
        span = {"from_ms": from_ms, "to_ms": to_ms, "limit": limit}
        return self._rows(_DECISIONS, span | {"org_id": org_id, "campaign_id": campaign_id})

    def campaign_today(self, org_id: str) -> list[dict[str, Any]]:
        """Each campaign's counters of its own day that is now; one without events today is not there."""
        return self._rows(_TODAY, {"org_id": org_id})

    def events(
        self, org_id: str, campaign_id: str, from_ms: int, to_ms: int, limit: int, *, type_name: str = ""
    ) -> list[dict[str, Any]]:
        """Events with a time in [from_ms, to_ms), oldest first, of one type or of all."""
        named = {"org_id": org_id, "campaign_id": campaign_id, "type": type_name}
        return self._rows(_EVENTS, named | {"from_ms": from_ms, "to_ms": to_ms, "limit": limit})

    def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            result = self._client().query(query, parameters=dict(parameters))
        except ClickHouseError:
            self._forget()
            raise
        names: Sequence[str] = result.column_names
        return [dict(zip(names, row, strict=True)) for row in result.result_rows]

    def _client(self) -> Client:
        if getattr(self._local, "client", None) is None:
            self._local.client = connect(self._url, timeout_s=self._timeout_s)
        return self._local.client

    def _forget(self) -> None:
        client, self._local.client = getattr(self._local, "client", None), None
        if client is not None:
            client.close()
