"""The strategies there are. A new one: its file, a line here, and a line in `schemas.strategies` for what it asks."""

from __future__ import annotations

from typing import Final

from bidding.strategies.manual import Manual
from bidding.strategies.max_clicks import MaxClicks
from bidding.strategies.max_conversions import MaxConversions
from bidding.strategies.model import Strategy
from bidding.strategies.target_cpa import TargetCpa
from bidding.strategies.target_roas import TargetRoas
from schemas.campaigns import Bidding

_ALL: Final = (Manual(), MaxClicks(), MaxConversions(), TargetCpa(), TargetRoas())
STRATEGIES: Final[dict[str, Strategy]] = {strategy.name: strategy for strategy in _ALL}


def strategy_of(bidding: Bidding) -> Strategy:
    """The strategy that a definition names."""
    return STRATEGIES[bidding.strategy]
