"""The kinds of budgets, and where in a campaign's row their numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.logic.windows import layout as at
from schemas.decisions import Reason
from schemas.live import BudgetState


@dataclass(frozen=True, slots=True)
class Budget:
    """One kind of budget: the fields of a campaign's row that hold its numbers, and what reaching it is called.

    The total budget has no period.
    """

    period: str
    reason: Reason
    limit: str
    spent: str
    start: str | None = None
    end: str | None = None


TOTAL: Final = Budget("total", Reason.TOTAL_BUDGET_REACHED, "budget_total", "spent_total")
WEEK: Final = Budget("week", Reason.WEEKLY_BUDGET_REACHED, "budget_week", "spent_week", "week_start_ms", "week_end_ms")
DAY: Final = Budget("day", Reason.DAILY_BUDGET_REACHED, "budget_day", "spent_day", "day_start_ms", "day_end_ms")
# When several are reached at once the first of these is named.
BUDGETS: Final = (TOTAL, WEEK, DAY)


def budget_states(camp: np.void) -> list[BudgetState]:
    """The budgets of a row of `camp` that have a limit."""
    return [
        BudgetState(
            period=budget.period,
            budget_micros=int(camp[budget.limit]),
            spent_micros=int(camp[budget.spent]),
            in_flight_micros=int(camp["reserve"]),
            period_start_ms=0 if budget.start is None else int(camp[budget.start]),
            period_end_ms=None if budget.end is None else int(camp[budget.end]),
        )
        for budget in BUDGETS
        if camp[budget.limit] != at.FAR_MS
    ]
