"""First-price bids of our bidder: a win-rate curve a campaign, learned from win and loss notices."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, Final

from bidding.shading import learn_outcome, new_curve, shaded_bid

# Fewer outcomes say nothing about the market: until then the bid is the full worth.
OUTCOMES_MIN: Final = 50
# Campaigns with a curve; the one unheard of for longest is forgotten first.
CURVES_MAX: Final = 10_000


class LearnedShading:
    """Curves live in the memory of one process and are learned anew after a restart: a curve needs a minute."""

    def __init__(self) -> None:
        self._curves: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def shade(self, worth_micros: int, campaign_id: str) -> int:
        """What to bid for something of this worth: the same unit, never more than the worth."""
        known = self._curves.get(campaign_id)
        if known is None or known[1] < OUTCOMES_MIN:
            return worth_micros
        return min(worth_micros, round(shaded_bid(known[0], float(worth_micros))))

    def learn(self, campaign_id: str, bid_micros: int, won: bool) -> None:
        """Take in how a first-price auction ended."""
        curve, outcomes = self._curves.pop(campaign_id, (None, 0))
        if curve is None:
            curve = new_curve(math.log(max(bid_micros, 1)))
        learn_outcome(curve, float(bid_micros), won)
        self._curves[campaign_id] = (curve, outcomes + 1)
        if len(self._curves) > CURVES_MAX:
            self._curves.popitem(last=False)
