"""As many clicks as the budget buys."""

from __future__ import annotations

from bidding.strategies.model import Strategy


class MaxClicks(Strategy):
    """The bid at which the budget lasts."""

    name = "max_clicks"
    counts_conversions = False
