"""What the api reads from ClickHouse: KPI windows, and decisions that its memory no longer holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.decision_history import Wanted
from api.problems import Problem
from schemas.decisions import Decision, Effect
from schemas.kpis import Level, Window
from storage.client import Client, connect

_log = logging.getLogger(__name__)

# A dashboard that waits longer has given up.
ANSWER_WITHIN_S: Final = 10.0

_WINDOWS: Final = """
SELECT creative_id, channel, country, device, window,
    toUnixTimestamp64Milli(window_start) AS window_start_ms, toUnixTimestamp64Milli(window_end) AS window_end_ms,
    impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach
FROM kpi_windows FINAL
WHERE org_id = {org:String} AND campaign_id = {campaign:String} AND level = {level:String} AND window = {window:String}
    AND window_start >= fromUnixTimestamp64Milli({from_ms:Int64})
    AND window_start < fromUnixTimestamp64Milli({to_ms:Int64})
ORDER BY window_start, creative_id, channel, country, device
LIMIT {limit:UInt32}
"""
_DECISIONS: Final = """
SELECT decision_id, org_id, campaign_id, kind, reason, toUnixTimestamp64Milli(ts) AS ts_ms,
    toUnixTimestamp64Milli(effective) AS effective_ms, before, after, inputs, policy, mode, expected, undo, cause_event
FROM decisions FINAL
WHERE org_id = {org:String}
"""


class ClickHouseReader:
    """Implements `api.kpis.KpiReader` and `api.decision_history.DecisionArchive`. Blocking; safe in several threads.

    Connects when it is first asked, and again after a failure: ClickHouse may come and go.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        # A client answers one thread at a time.
        self._lock = threading.Lock()

    def windows(
        self, org_id: str, campaign_id: str, window: Window, level: Level, from_ms: int, to_ms: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        """KPI windows that start in [from_ms, to_ms), oldest first; raises Problem 503."""
        return self._rows(
            _WINDOWS,
            org=org_id,
            campaign=campaign_id,
            window=window.value,
            level=level.value,
            from_ms=from_ms,
            to_ms=to_ms,
            limit=limit,
        )

    def find(self, wanted: Wanted) -> list[Decision]:
        """Decisions by (ts_ms, decision_id), newest first; raises Problem 503."""
        ts_ms, decision_id = wanted.before if wanted.before is not None else (0, "")
        where = [
            "AND campaign_id = {campaign:String}" if wanted.campaign_id is not None else "",
            "AND kind = {kind:String}" if wanted.kind is not None else "",
            "AND (ts, decision_id) < (fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_id:String})"
            if wanted.before is not None
            else "",
        ]
        query = f"{_DECISIONS} {' '.join(where)} ORDER BY ts DESC, decision_id DESC LIMIT {{limit:UInt32}}"
        rows = self._rows(
            query,
            org=wanted.org_id,
            campaign=wanted.campaign_id or "",
            kind=wanted.kind or "",
            before_ms=ts_ms,
            before_id=decision_id,
            limit=wanted.limit,
        )
        return [_decision(row) for row in rows]

    def get(self, org_id: str, decision_id: str) -> Decision | None:
        """One decision; raises Problem 503."""
        query = f"{_DECISIONS} AND decision_id = {{id:String}} LIMIT 1"
        return next((_decision(row) for row in self._rows(query, org=org_id, id=decision_id)), None)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._lock:
            try:
                if self._client is None:
                    self._client = connect(self._url, timeout_s=ANSWER_WITHIN_S)
                return list(self._client.query(query, parameters=parameters).named_results())
            except ClickHouseError as error:
                self._drop()
                _log.warning("ClickHouse failed: %s", error)
                detail = "ClickHouse does not answer or has no tables yet; live figures go on without it."
                raise Problem(503, "clickhouse_unavailable", "No history now", detail, retry_after_s=5) from error

    def _drop(self) -> None:
        if self._client is not None:
            with suppress(ClickHouseError):
                self._client.close()
        self._client = None


def _decision(row: dict[str, Any]) -> Decision:
    return Decision(
        **row
        | {name: msgspec.json.decode(row[name]) for name in ("before", "after", "inputs")}
        | {
            "expected": msgspec.json.decode(row["expected"] or "[]", type=list[Effect]),
            "undo": msgspec.json.decode(row["undo"]) if row["undo"] else None,
            "cause_event": row["cause_event"] or None,
        }
    )
