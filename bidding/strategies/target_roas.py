"""Revenue of so many times what is spent."""

from __future__ import annotations

from bidding.state import CampaignState
from bidding.strategies.model import Strategy
from schemas.campaigns import Bidding


class TargetRoas(Strategy):
    """A conversion is worth its mean revenue over the target."""

    name = "target_roas"
    has_goal = True

    def goal(self, bidding: Bidding) -> float | int | None:
        return bidding.target_roas

    def conversion_worth_micros(self, bidding: Bidding, state: CampaignState) -> float | None:
        if bidding.target_roas is None or state.goal_conversions <= 0.0:
            return None
        return state.goal_revenue / state.goal_conversions / bidding.target_roas or None

    def value(self, clicks: float, conversions: float, revenue_micros: float) -> float:
        return revenue_micros

    def achieved(self, spend_micros: float, conversions: float, revenue_micros: float) -> float | None:
        return revenue_micros / spend_micros if spend_micros else None

    def miss(self, goal: float, achieved: float) -> float:
        return goal / achieved - 1.0
