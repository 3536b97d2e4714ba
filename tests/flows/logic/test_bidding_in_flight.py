"""Spend that is under way when a budget is nearly gone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from schemas.decisions import Decision, Kind
from tests.flows.logic.market import TICK_MS, Market
from tests.flows.logic.stream import Ev, Flow, Item, Tick, definition, steps_of

T0 = 1_769_587_200_000
MANUAL: dict[str, Any] = {"strategy": "manual", "bid_micros": 3_000_000, "pacing": "asap"}


def market(delay_ms: int, budget: int, bidding: dict[str, Any] | None = MANUAL, **given_: Any) -> Market:
    made = Market(T0, delay_ms=delay_ms, bid_micros=3_000_000, **given_)
    made.say(definition(daily_budget_micros=budget, bidding=bidding))
    return made


def pauses(made: Market) -> list[Decision]:
    return [d for d in made.decisions if d.kind == Kind.PAUSE]


def until_paused(made: Market, ticks: int = 1_500) -> Market:
    for _ in range(ticks):
        if not made.running:
            return made
        # Pacing is left out: what matters is that the pause comes in time when spend goes on at full rate.
        made.pacing_rate = 1.0
        made.run(1)
    raise AssertionError("the budget was not reached")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(delay_ms=st.sampled_from([30_000, 60_000, 120_000]), auctions=st.floats(10.0, 40.0), seed=st.integers(0, 99))
def test_overspend_is_no_more_than_stated_when_the_estimate_holds(delay_ms: int, auctions: float, seed: int) -> None:
    budget = round(auctions * 700 * 120)
    made = until_paused(market(delay_ms, budget, auctions=auctions, seed=seed))
    inputs = pauses(made)[0].inputs
    reported = inputs.spend_micros
    under_way = sum(event.cost for _, event in made.late)
    # The market buys between two ticks what it cannot know to be too much.
    last_tick = sum(event.cost for at_ms, event in made.late if at_ms > made.now_ms + delay_ms - TICK_MS)
    assert inputs.in_flight_micros > 0
    assert inputs.overspend_bound_micros == max(0, reported + inputs.in_flight_micros - budget)
    assert reported + under_way - budget <= max(
        inputs.overspend_bound_micros, under_way - inputs.in_flight_micros + last_tick
    )
    assert made.spent_micros <= 1.02 * budget


@pytest.mark.parametrize("bidding", [None, MANUAL], ids=["without_a_strategy", "with_one_and_prompt_reports"])
def test_without_a_known_delay_the_pause_comes_at_the_very_event(bidding: dict[str, Any] | None) -> None:
    made = until_paused(market(30_000 if bidding is None else 0, 2_000_000, bidding, spread_ms=500))
    inputs = pauses(made)[0].inputs
    assert inputs.in_flight_micros == 0
    assert 2_000_000 <= inputs.spend_micros < 2_000_000 + 3_000
    assert inputs.overspend_bound_micros is UNSET


def test_a_file_of_old_events_reserves_nothing() -> None:
    items: list[Item] = [Tick(T0, (definition(daily_budget_micros=200_000, bidding=MANUAL),))]
    for tick in range(60):
        items += [Ev(10 * tick + k, T0 + TICK_MS * tick - 4 * 3_600_000, cost=700) for k in range(5)]
        items.append(Tick(T0 + TICK_MS * (tick + 1)))
    (pause,) = [d for d in Flow().run(steps_of(items, 5, T0)).decisions() if d.kind == Kind.PAUSE]
    assert (pause.inputs.in_flight_micros, pause.inputs.spend_micros) == (0, 200_200)


def test_live_rows_show_what_is_held_back() -> None:
    made = market(60_000, 10**9).run(100)
    (budget,) = made.flow.live()["a"].budgets
    rate = made.spent_micros / (100 * TICK_MS)
    assert 0.7 < budget.in_flight_micros / (rate * 60_000) < 2.0


def test_a_pause_for_what_is_under_way_holds_when_it_comes_in() -> None:
    made = until_paused(market(60_000, 6_000_000, auctions=30.0)).run(1_200)
    assert len(pauses(made)) == 1
    assert not made.running
    assert 5_700_000 < made.spent_micros <= 6_030_000


def test_a_campaign_goes_on_when_far_less_was_under_way_than_was_held_back() -> None:
    """A backlog in the log makes reports look slower than they are."""
    made = market(0, 6_000_000, auctions=30.0, spread_ms=500)
    row = made.flow.campaigns[0].arrays.campaign(0)
    while made.running:
        row["delay_ms"] = 900_000
        made.run(1)
    # Reports are prompt here: nothing is under way when this much is held back.
    assert pauses(made)[0].inputs.in_flight_micros > 300_000
    made.run(600)
    assert next(d.reason for d in made.decisions if d.kind == Kind.RESUME) == "in_flight_settled"
    # The market buys between two ticks what the pause at the very event cannot call back: 30 auctions of some 700.
    assert 5_850_000 <= row["spent_day"] <= 6_030_000
    ids = [d.decision_id for d in made.decisions]
    assert len(ids) == len(set(ids)), "a pause that comes again in the same day is another decision"


def test_a_slow_report_never_stops_a_campaign_before_half_its_budget() -> None:
    made = until_paused(market(600_000, 1_000_000, auctions=20.0))
    assert pauses(made)[0].inputs.spend_micros >= 500_000


def test_a_campaign_goes_on_when_its_strategy_is_removed_and_with_it_what_was_held_back() -> None:
    made = until_paused(market(600_000, 1_000_000, auctions=20.0))
    pause = pauses(made)[0]
    assert pause.inputs.spend_micros < 1_000_000
    made.say(definition(version=2, daily_budget_micros=1_000_000))
    [resume] = [d for d in made.decisions if d.kind == Kind.RESUME]
    assert resume.reason == "in_flight_settled"
    assert made.running


def test_a_campaign_that_spent_its_budget_stays_paused_when_its_strategy_is_removed() -> None:
    made = until_paused(market(0, 1_000_000, spread_ms=500))
    made.say(definition(version=2, daily_budget_micros=1_000_000))
    assert not made.running
