"""What a strategy answers. The controller, the dataflow and the simulator ask nothing else of it."""

from __future__ import annotations

from bidding.state import CampaignState
from schemas.campaigns import Bidding


class Strategy:
    """A bid strategy; without more than this it buys as many conversions as the budget does. Keeps no state."""

    # By which definitions name it; `schemas.strategies.SPECS` says what it asks of them.
    name = ""
    # Whether it moves the bid; where not, the bid is a person's.
    sets_bid = True
    # Whether outcomes are conversions; clicks otherwise.
    counts_conversions = True
    # Whether the bid is also held to a goal.
    has_goal = False

    def goal(self, bidding: Bidding) -> float | int | None:
        """The goal as people set it: micros for a cost, a plain number for a ratio; None without one."""
        return None

    def conversion_worth_micros(self, bidding: Bidding, state: CampaignState) -> float | None:
        """What a conversion may cost on average; None without a goal, and while it is not known."""
        return None

    def value(self, clicks: float, conversions: float, revenue_micros: float) -> float:
        """What so many outcomes are worth to it, by which simulated runs are compared."""
        return conversions if self.counts_conversions else clicks

    def achieved(self, spend_micros: float, conversions: float, revenue_micros: float) -> float | None:
        """What came of the goal, in its unit; None without a goal, and where nothing came."""
        return None

    def miss(self, goal: float, achieved: float) -> float:
        """How far what was achieved is from the goal, relative to it; above 0 is worse."""
        return achieved / goal - 1.0
