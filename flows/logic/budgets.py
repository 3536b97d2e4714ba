"""The kinds of budgets, and where in a campaign's row their numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flows.logic import layout as at
from schemas.decisions import Reason
from schemas.live import BudgetState


@dataclass(frozen=True, slots=True)
class Budget:
    """One kind of budget: where its numbers are, and what reaching it is called."""

    period: str
    reason: Reason
    limit: int
    spent: int
    spent_before: int
    start: int
    end: int


TOTAL: Final = Budget("total", Reason.TOTAL_BUDGET_REACHED, at.BUDGET_TOTAL, at.SPENT_TOTAL, at.SPENT_TOTAL, -1, -1)
WEEK: Final = Budget(
    "week",
    Reason.WEEKLY_BUDGET_REACHED,
    at.BUDGET_WEEK,
    at.SPENT_WEEK,
    at.SPENT_WEEK_BEFORE,
    at.WEEK_START,
    at.WEEK_END,
)
DAY: Final = Budget(
    "day", Reason.DAILY_BUDGET_REACHED, at.BUDGET_DAY, at.SPENT_DAY, at.SPENT_DAY_BEFORE, at.DAY_START, at.DAY_END
)
# When several are reached at once the first of these is named.
BUDGETS: Final = (TOTAL, WEEK, DAY)


def budget_states(row: list[int]) -> list[BudgetState]:
    """The budgets of a row of `camp` that have a limit."""
    return [
        BudgetState(
            period=budget.period,
            budget_micros=row[budget.limit],
            spent_micros=row[budget.spent],
            in_flight_micros=row[at.RESERVE],
            period_start_ms=0 if budget.start < 0 else row[budget.start],
            period_end_ms=None if budget.end < 0 else row[budget.end],
        )
        for budget in BUDGETS
        if row[budget.limit] != at.FAR_MS
    ]
