"""As many conversions as the budget buys."""

from __future__ import annotations

from bidding.strategies.model import Strategy


class MaxConversions(Strategy):
    """The bid at which the budget lasts; modifiers follow conversions."""

    name = "max_conversions"
