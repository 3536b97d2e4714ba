"""Conversions at a cost each, on average."""

from __future__ import annotations

from bidding.state import CampaignState
from bidding.strategies.model import Strategy
from schemas.campaigns import Bidding


class TargetCpa(Strategy):
    """A conversion is worth its target cost."""

    name = "target_cpa"
    has_goal = True

    def goal(self, bidding: Bidding) -> float | int | None:
        return bidding.target_cpa_micros

    def conversion_worth_micros(self, bidding: Bidding, state: CampaignState) -> float | None:
        return None if bidding.target_cpa_micros is None else float(bidding.target_cpa_micros)

    def achieved(self, spend_micros: float, conversions: float, revenue_micros: float) -> float | None:
        return spend_micros / conversions if conversions else None
