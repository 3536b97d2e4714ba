"""The bid is a person's: pacing and budgets still act."""

from __future__ import annotations

from bidding.strategies.model import Strategy
from schemas.strategies import MANUAL


class Manual(Strategy):
    """A fixed bid."""

    name = MANUAL
    sets_bid = False
    counts_conversions = False
