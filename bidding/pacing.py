"""How fast to spend: what is left of each budget over the traffic that is left of its period.

For each budget the plan is `left / traffic left`, left being less what is in flight; the smallest of them rules. The
plan is solved anew at each step, so a budget changed in mid-day is followed from there on; the past is not caught up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bidding.forecast import expected_traffic
from schemas.live import BudgetState


class Plan(NamedTuple):
    """The spend to aim for, micros per unit of traffic; None where no budget with an end sets one.

    `gap` is the share of the ruling budget spent, less the share of its traffic gone by: above 0 is ahead.
    """

    rate: float | None
    spendable_micros: int | None
    period: str | None
    gap: float
    traffic_left: float


def spendable_micros(budgets: Sequence[BudgetState], reserved_micros: int = 0) -> int | None:
    """What may still be spent: the least that any budget has left, less what is in flight; None without a budget.

    Never negative, and never more than any budget's rest, whatever the order of events was.
    """
    left = [b.budget_micros - b.spent_micros - max(b.in_flight_micros, reserved_micros) for b in budgets]
    return max(min(left), 0) if left else None


def plan_spend(
    budgets: Sequence[BudgetState],
    now_ms: int,
    end_ms: int | None,
    rates: NDArray[np.float64],
    time_zone: str,
    reserved_micros: int = 0,
) -> Plan:
    """The plan at `now_ms`. `rates` is traffic per hour of the week; `end_ms` is the campaign's own end."""
    ruling = Plan(None, spendable_micros(budgets, reserved_micros), None, 0.0, 0.0)
    for budget in budgets:
        stops = [at_ms for at_ms in (budget.period_end_ms, end_ms) if at_ms is not None]
        if not stops:
            continue
        stop_ms = min(stops)
        left = spendable_micros((budget,), reserved_micros)
        traffic_left = expected_traffic(rates, now_ms, stop_ms, time_zone)
        rate = (left or 0) / traffic_left if traffic_left > 0.0 else 0.0
        if ruling.rate is None or rate < ruling.rate:
            traffic_gone = expected_traffic(rates, budget.period_start_ms, now_ms, time_zone)
            traffic = traffic_gone + traffic_left
            gone_share = traffic_gone / traffic if traffic > 0.0 else 0.0
            gap = budget.spent_micros / budget.budget_micros - gone_share
            ruling = Plan(rate, ruling.spendable_micros, budget.period, gap, traffic_left)
    return ruling
