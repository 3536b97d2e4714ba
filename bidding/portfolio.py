"""Campaigns that share a budget: money goes where the next unit of it brings most.

Each campaign's value follows spend as a power, `value = v * (budget / spend) ** a` around where it stands, a < 1. With
all marginal returns equal the total is largest; the multiplier is found by bisection on them (water-filling).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

# Value rises with this power of spend: bids rise faster than what they win (docs/bidding.md, Portfolio).
_RETURN_POWER: Final = 0.6
_Z90: Final = 1.645
# One proposal moves a budget by at most this share, however the estimates look.
STEP_SHARE: Final = 0.2
# Prior events at the portfolio's mean rate, so that a campaign of three lucky clicks does not drain the others.
_PRIOR_EVENTS: Final = 20.0


class Member(NamedTuple):
    """A campaign: its daily budget, and the spend and events (clicks, conversions) of the recent past.

    `event_value` weighs an event against those of other members; `limited` says that it spends its budget: one that
    does not cannot use more.
    """

    campaign_id: str
    budget_micros: int
    spend_micros: int
    events: float
    event_value: float = 1.0
    limited: bool = True


class Move(NamedTuple):
    """A budget to change, and the expected gain in value a day of all the moves together, with its 90% interval."""

    campaign_id: str
    before_micros: int
    after_micros: int


class Reallocation(NamedTuple):
    """Moves that keep the sum of budgets, and what they are expected to gain."""

    moves: tuple[Move, ...]
    gain: float
    gain_low: float
    gain_high: float


def _value_a_budget(member: Member, rate: float) -> float:
    """Value a day at today's budget, the member's return shrunk towards the portfolio's `rate` (events per micro)."""
    prior_spend = _PRIOR_EVENTS / rate
    shrunk = (member.events + _PRIOR_EVENTS) / (member.spend_micros + prior_spend)
    return shrunk * member.budget_micros * member.event_value


def _log_return(value: float, budget: float) -> float:
    """Log of the marginal return at today's budget, a value a micro; very low where nothing is won."""
    return math.log(max(_RETURN_POWER * value / budget, 1e-300))


def _share_for(log_return: float, log_price: float, limited: bool) -> float:
    """The share of today's budget at which the marginal return falls to the price."""
    log_share = (log_return - log_price) / (1.0 - _RETURN_POWER)
    top = 1.0 + STEP_SHARE if limited else 1.0
    return min(max(math.exp(min(max(log_share, -1.0), 1.0)), 1.0 - STEP_SHARE), top)


def reallocate(members: Sequence[Member]) -> Reallocation | None:
    """The reallocation with the largest expected gain within the step; None where chance could explain the gain."""
    spend = sum(m.spend_micros for m in members)
    events = sum(m.events for m in members)
    if len(members) < 2 or spend <= 0 or events <= 0.0:
        return None
    rate = events / spend
    values = [_value_a_budget(m, rate) for m in members]
    total = sum(m.budget_micros for m in members)
    returns = [_log_return(v, m.budget_micros) for m, v in zip(members, values, strict=True)]
    low, high = min(returns) - 1.0, max(returns) + 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        wanted = sum(m.budget_micros * _share_for(r, middle, m.limited) for m, r in zip(members, returns, strict=True))
        low, high = (middle, high) if wanted > total else (low, middle)
    shares = [_share_for(r, high, m.limited) for m, r in zip(members, returns, strict=True)]
    after = [int(m.budget_micros * share) for m, share in zip(members, shares, strict=True)]
    gains = [v * (share**_RETURN_POWER - 1.0) for v, share in zip(values, shares, strict=True)]
    # A return's relative error is one over the root of its events, the prior's included.
    variance = sum((g * g) / (m.events + _PRIOR_EVENTS) for g, m in zip(gains, members, strict=True))
    gain, spread = sum(gains), _Z90 * math.sqrt(variance)
    moves = tuple(
        Move(m.campaign_id, m.budget_micros, a)
        for m, a in zip(members, _exact(after, total), strict=True)
        if a != m.budget_micros
    )
    if not moves or gain - spread <= 0.0:
        return None
    return Reallocation(moves, gain, gain - spread, gain + spread)


def _exact(after: list[int], total: int) -> list[int]:
    """The same budgets summing to at most `total`: what bisection left over is taken from the largest."""
    over = sum(after) - total
    if over > 0:
        largest = max(range(len(after)), key=lambda i: after[i])
        after[largest] -= over
    return after
