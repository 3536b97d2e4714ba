"""`GET /api/v1/campaigns/{id}/kpis`: windows from ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Protocol

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from api.asked import Asked
from api.auth import CallerDep
from api.problems import Problem
from schemas.kpis import WIDTH_MS, Counters, Level, Window, rates

ROWS_MAX: Final = 10_000
# The span asked for when none is named: as many windows as a chart shows.
_SPAN_WINDOWS: Final = 360
_DAY_MS: Final = 86_400_000


class KpiRow(BaseModel):
    """One KPI window. Rates are null where their denominator is zero."""

    creative_id: str
    channel: str
    country: str
    device: str
    window: Window
    window_start_ms: int
    window_end_ms: int
    impressions: int
    clicks: int
    conversions: int
    leads: int
    spend_micros: int
    revenue_micros: int
    reach: int
    ctr: float | None
    cvr: float | None
    cpm_micros: float | None
    cpc_micros: float | None
    cpa_micros: float | None
    roas: float | None
    frequency: float | None


class KpiAnswer(BaseModel):
    """The windows that start in [from_ms, to_ms), oldest first; `truncated` when there are more."""

    campaign_id: str
    level: Level
    window: Window
    from_ms: int
    to_ms: int
    truncated: bool
    rows: list[KpiRow]


class KpiReader(Protocol):
    """Reads KPI windows. Blocking."""

    def windows(
        self, org_id: str, campaign_id: str, window: Window, level: Level, from_ms: int, to_ms: int, limit: int
    ) -> Sequence[dict[str, Any]]:
        """Rows with the dimensions, window bounds and counters of KpiRow, oldest first, at most `limit`.

        Raises Problem 503 when ClickHouse is away.
        """
        ...


router = APIRouter(prefix="/api/v1/campaigns", tags=["kpis"])


@router.get("/{campaign_id}/kpis")
async def kpis(
    request: Request,
    caller: CallerDep,
    campaign_id: Annotated[str, Path(max_length=128)],
    window: Window = Window.MINUTE,
    level: Level = Level.CAMPAIGN,
    from_ms: Annotated[int | None, Query(description="Default: 360 windows before to_ms.")] = None,
    to_ms: Annotated[int | None, Query(description="Exclusive; default: now.")] = None,
) -> KpiAnswer:
    """KPI windows of a campaign that start in [from_ms, to_ms)."""
    reader: KpiReader | None = request.app.state.wiring.kpis
    if reader is None:
        raise Problem(503, "no_clickhouse", "No KPI history", "This api has no ClickHouse; set PENSTOCK_CLICKHOUSE.")
    end = to_ms if to_ms is not None else request.app.state.wiring.now_ms()
    start = from_ms if from_ms is not None else end - _SPAN_WINDOWS * WIDTH_MS.get(window, _DAY_MS)
    if start >= end:
        raise Problem(422, "empty_span", "Nothing to ask for", "from_ms must be before to_ms.")
    asked: Asked = request.app.state.asked
    rows = await asked.ask(reader.windows, caller.org_id, campaign_id, window, level, start, end, ROWS_MAX + 1)
    return KpiAnswer(
        campaign_id=campaign_id,
        level=level,
        window=window,
        from_ms=start,
        to_ms=end,
        truncated=len(rows) > ROWS_MAX,
        rows=[_with_rates(row) for row in rows[:ROWS_MAX]],
    )


def _with_rates(row: dict[str, Any]) -> KpiRow:
    derived = rates(Counters(**{name: row[name] for name in Counters.__struct_fields__}))
    return KpiRow(**row | {name: getattr(derived, name) for name in derived.__struct_fields__})
