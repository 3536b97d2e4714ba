"""What the api reads from ClickHouse: KPI windows, and decisions that its memory no longer holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.decision_history import Wanted
from api.problems import Problem
from schemas.decisions import SEQUENCE_BITS, Decision, decision_of
from storage.correction_queries import CorrectionReader
from storage.words import in_words

_log = logging.getLogger(__name__)

_DECISIONS: Final = """
SELECT decision_id, org_id, campaign_id, kind, reason, toUnixTimestamp64Milli(ts) AS ts_ms,
    toUnixTimestamp64Milli(effective) AS effective_ms, before, after, inputs, policy, mode, expected, undo, cause_event,
    sequence
FROM decisions FINAL
WHERE org_id = {org_id:String}
"""
_OF_CAMPAIGN: Final = "AND campaign_id = {campaign_id:String}"
_OF_KIND: Final = "AND kind = {kind:String}"
# As `Decision.place` has it.
_SEQUENCE: Final = (
    f"if(sequence > 0, toInt64(sequence), bitShiftLeft(toUnixTimestamp64Milli(decisions.ts), {SEQUENCE_BITS}))"
)
_BEFORE: Final = f"AND ({_SEQUENCE}, decision_id) < ({{before:Int64}}, {{before_id:String}})"
_NEWEST: Final = f"ORDER BY {_SEQUENCE} DESC, decision_id DESC LIMIT {{limit:UInt64}}"


class ClickHouseHistory(CorrectionReader):
    """`api.kpis.KpiReader`, `api.decision_history.DecisionArchive` and `api.correction_history.CorrectionHistory`.

    Raises Problem 503 when ClickHouse is away.
    """

    def find(self, wanted: Wanted) -> list[Decision]:
        """Decisions by `Decision.place`, newest first."""
        conditions = [_DECISIONS]
        named: dict[str, Any] = {"org_id": wanted.org_id, "limit": wanted.limit}
        if wanted.campaign_id is not None:
            conditions.append(_OF_CAMPAIGN)
            named["campaign_id"] = wanted.campaign_id
        if wanted.kind is not None:
            conditions.append(_OF_KIND)
            named["kind"] = str(wanted.kind)
        if wanted.before is not None:
            conditions.append(_BEFORE)
            named["before"], named["before_id"] = wanted.before
        query = "\n".join([*conditions, _NEWEST])
        return [_decision(row) for row in self._rows(query, named)]

    def get(self, org_id: str, decision_id: str) -> Decision | None:
        """One decision."""
        query = f"{_DECISIONS} AND decision_id = {{decision_id:String}} LIMIT 1"
        rows = self._rows(query, {"org_id": org_id, "decision_id": decision_id})
        return next(map(_decision, rows), None)

    def ping(self) -> str:
        """`ok`, or in words why ClickHouse does not answer; an answer that never comes is the caller's to bound."""
        try:
            super()._rows("SELECT 1", {})
        except ClickHouseError as error:
            return in_words(error)
        return "ok"

    def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            return super()._rows(query, parameters)
        except ClickHouseError as error:
            _log.warning("ClickHouse failed: %s", error)
            detail = "ClickHouse does not answer or has no tables yet; live figures go on without it."
            raise Problem(503, "clickhouse_unavailable", "No history now", detail, retry_after_s=5) from error


def _decision(row: dict[str, Any]) -> Decision:
    objects = {name: msgspec.json.decode(row[name]) for name in ("before", "after", "inputs")}
    absent = {
        "expected": msgspec.json.decode(row["expected"] or "[]"),
        "undo": msgspec.json.decode(row["undo"]) if row["undo"] else None,
        "cause_event": row["cause_event"] or None,
    }
    return decision_of(**row | objects | absent)
