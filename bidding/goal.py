"""The goal's multiplier: cost per conversion or return on spend, steered by the bid.

A conversion is worth `target_cpa`, or its mean revenue over `target_roas`; a thousand impressions are worth
`worth = 1000 * P(conversion | impression) * worth of a conversion`. In second price the winner pays less than it bids,
so bidding the worth itself would stay below the goal; the multiplier finds how far above it the average is right:

    bid_goal  = worth * exp(log_goal + P * error)
    log_goal += I * error * (new conversions / 300)
    error     = log(worth of what was bought / its cost)

This is the multiplicative dual step on the ratio constraint (Balseiro, Bhawalkar, Feng, Lu, Mirrokni, Sivan and Wang,
"A Field Guide for Pacing Budget and ROS Constraints", arXiv 2302.08530); budget and goal are combined by the smaller
bid ("min pacing" there).
"""

from __future__ import annotations

import math
from typing import Final

from bidding.learn import Rules
from bidding.state import CampaignState
from bidding.value.delay import conversion_rate, pending_conversions

_PROPORTIONAL: Final = 0.5
_INTEGRAL: Final = 3.0
# Conversions over which a standing error moves the multiplier by `_INTEGRAL` times it.
_INTEGRAL_CONVERSIONS: Final = 300.0
# The multiplier stays within e^2 of the worth: beyond, the goal cannot be met by bidding.
_LOG_GOAL_MAX: Final = 2.0


def conversion_worth_micros(state: CampaignState, rules: Rules) -> float | None:
    """What a conversion may cost on average; None without a goal, and while it is not known."""
    return rules.strategy.conversion_worth_micros(rules.bidding, state)


def impression_worth_micros(state: CampaignState, rules: Rules) -> float | None:
    """Worth of a thousand impressions under the goal; None while it is not known."""
    worth = conversion_worth_micros(state, rules)
    if worth is None or state.response_impressions <= 0.0:
        return None
    click_rate = state.response_clicks / state.response_impressions
    return 1_000.0 * click_rate * conversion_rate(state.delays) * worth or None


def goal_error(state: CampaignState, rules: Rules) -> float:
    """Log of what the recent spend should have cost over what it did, conversions to come included; 0 if unknown."""
    worth = conversion_worth_micros(state, rules)
    expected = state.goal_conversions + pending_conversions(state.delays)
    if worth is None or expected <= 0.0 or state.goal_spend <= 0.0:
        return 0.0
    return max(min(math.log(expected * worth / state.goal_spend), 1.0), -1.0)


def steer_goal(state: CampaignState, rules: Rules, new_conversions: int, *, binding: bool) -> None:
    """Move the goal's multiplier by what came in. It is not raised while the budget, not the goal, holds the bid."""
    error = goal_error(state, rules)
    if error > 0.0 and not binding:
        return
    moved = state.log_goal + _INTEGRAL * error * new_conversions / _INTEGRAL_CONVERSIONS
    state.log_goal = max(min(moved, _LOG_GOAL_MAX), -_LOG_GOAL_MAX)


def goal_bid_micros(state: CampaignState, rules: Rules) -> float | None:
    """The bid at which the goal is expected to be met; None while the worth is not known."""
    worth = impression_worth_micros(state, rules)
    if worth is None:
        return None
    return worth * math.exp(state.log_goal + _PROPORTIONAL * goal_error(state, rules))
