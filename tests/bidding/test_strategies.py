"""Strategies: a file each behind one protocol, and what a new one needs to bid."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bidding.state import CampaignState
from bidding.strategies.model import Strategy
from bidding.strategies.registry import STRATEGIES
from schemas.campaigns import Bidding
from schemas.strategies import SPECS, Spec
from tests.flows.logic.market import Market
from tests.flows.logic.stream import definition

# 2026-03-02 00:00 UTC
START_MS = 1_772_409_600_000


class FixedWorth(Strategy):
    """A conversion is worth what the campaign's cap says: a strategy of this test."""

    name = "fixed_worth"
    has_goal = True

    def goal(self, bidding: Bidding) -> float | int | None:
        return bidding.bid_cap_micros

    def conversion_worth_micros(self, bidding: Bidding, state: CampaignState) -> float | None:
        return None if bidding.bid_cap_micros is None else 5.0 * bidding.bid_cap_micros

    def achieved(self, spend_micros: float, conversions: float, revenue_micros: float) -> float | None:
        return spend_micros / conversions if conversions else None


def test_every_strategy_that_a_definition_may_name_is_there() -> None:
    assert set(STRATEGIES) == set(SPECS)
    assert all(strategy.name == name for name, strategy in STRATEGIES.items())


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.needs])
def test_a_definition_says_what_its_strategy_needs(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} needs {SPECS[name].needs[0]}"):
        Bidding(strategy=name)


def test_a_strategy_that_is_added_here_is_defined_checked_and_bids(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a new strategy needs: its file, its line in the registry, and what it asks of a definition."""
    with pytest.raises(ValidationError, match="is none of manual, max_clicks"):
        Bidding(strategy="fixed_worth")
    monkeypatch.setitem(SPECS, "fixed_worth", Spec("Fixed worth", "A test.", ("bid_cap_micros",)))
    monkeypatch.setitem(STRATEGIES, "fixed_worth", FixedWorth())
    with pytest.raises(ValidationError, match="fixed_worth needs bid_cap_micros"):
        Bidding(strategy="fixed_worth")
    bidding = {
        "strategy": "fixed_worth", "bid_micros": 1_000_000, "bid_cap_micros": 3_000_000, "learning_events": 0,
        "cooldown_ms": 1_000,
    }  # fmt: skip
    market = Market(START_MS)
    market.say(definition(daily_budget_micros=50_000_000, bidding=bidding))
    market.run(120)
    reasons = {decision.reason for decision in market.decisions if decision.kind == "set_bid"}
    assert reasons & {"goal_better", "goal_worse", "pacing_behind", "pacing_ahead"}
    row = market.flow.live()["a"]
    assert (row.bidding["strategy"], row.bidding["goal"]) == ("fixed_worth", 3_000_000)
    word = [word for output in market.flow.outputs for word in output.serving][-1]
    assert word.bid_micros == market.bid_micros
