"""Bid modifiers by segment, and budgets within a portfolio."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.decisions import Decision, Kind, encode_decision
from tests.flows.logic.stream import CLICK, Ev, Flow, Item, Tick, definition, steps_of

T0 = 1_769_587_200_000
MINUTE = 60_000


def clicks_by_device(mobile: int, desktop: int, minutes: int = 60) -> list[Item]:
    """Each minute 60 impressions and so many clicks on each device."""
    items: list[Item] = []
    for minute in range(minutes):
        ts_ms, key = T0 + MINUTE * minute, 1_000 * minute
        for place, (device, clicks) in enumerate((("mobile", mobile), ("desktop", desktop))):
            first = key + 300 * place
            items += [Ev(first + k, ts_ms, cost=500, device=device) for k in range(60)]
            items += [Ev(first + 100 + k, ts_ms, type=CLICK, device=device) for k in range(clicks)]
        items.append(Tick(ts_ms + MINUTE))
    return items


def run(items: list[Item], **bidding: Any) -> list[Decision]:
    strategy = {"strategy": "max_clicks", "bid_micros": 1_000_000, "learning_events": 0} | bidding
    first = Tick(T0, (definition(daily_budget_micros=10**9, bidding=strategy),))
    return Flow().run(steps_of([first, *items], 50, T0)).decisions()


def modifiers(decisions: list[Decision]) -> list[Decision]:
    return [d for d in decisions if d.kind == Kind.SET_BID_MODIFIERS]


def test_a_segment_that_answers_better_gets_a_higher_modifier() -> None:
    decided = modifiers(run(clicks_by_device(mobile=6, desktop=2)))
    latest = decided[-1].after.modifiers
    assert latest["device=mobile"] > 1.2
    assert latest["device=desktop"] < 0.8
    assert decided[0].before.modifiers == {}
    assert decided[0].reason == "segment_response"
    assert len(decided) < 5, "hardly changed modifiers are no news"


@pytest.mark.parametrize(
    ("mobile", "desktop", "bidding"),
    [(4, 4, {}), (6, 2, {"strategy": "manual"})],
    ids=["segments_alike", "a_manual_bid"],
)
def test_modifiers_are_left_alone_for(mobile: int, desktop: int, bidding: dict[str, Any]) -> None:
    assert modifiers(run(clicks_by_device(mobile, desktop), **bidding)) == []


def test_a_new_day_goes_on_from_the_days_before() -> None:
    days = [T0 + 8 * 3_600_000, T0 + 32 * 3_600_000]
    quiet: list[Item] = [Tick(at_ms) for at_ms in range(days[0], days[1], 30 * MINUTE)]
    flow = Flow()
    first = Tick(T0, (definition(bidding={"strategy": "max_clicks", "bid_micros": 10**6, "learning_events": 0}),))
    decided = flow.run(steps_of([first, *clicks_by_device(6, 2), *quiet], 50, T0)).decisions()
    assert modifiers(decided)[-1].after.modifiers["device=mobile"] > 1.1


def portfolio() -> list[Item]:
    """Two campaigns spend alike; the clicks come to one."""
    bidding = {"strategy": "max_clicks", "bid_micros": 10**6, "learning_events": 0, "portfolio_id": "p"}
    items: list[Item] = [
        Tick(T0, tuple(definition(name, daily_budget_micros=2_000_000, bidding=bidding) for name in "ab"))
    ]
    for minute in range(180):
        for place, (name, clicks) in enumerate((("a", 5), ("b", 1))):
            ts_ms, key = T0 + MINUTE * minute, 1_000 * minute + 400 * place
            items += [Ev(key + k, ts_ms, name, cost=500) for k in range(20)]
            items += [Ev(key + 100 + k, ts_ms, name, type=CLICK) for k in range(clicks)]
        items.append(Tick(T0 + MINUTE * (minute + 1)))
    return items


def test_money_is_proposed_to_go_where_it_brings_more() -> None:
    flow = Flow().run(steps_of(portfolio(), 50, T0))
    moves = [d for d in flow.decisions() if d.kind == Kind.SET_BUDGET]
    assert {d.mode for d in moves} == {"recommend"}
    last = {d.campaign_id: d.after.daily_budget_micros for d in moves}
    assert last["a"] > 2_000_000 > last["b"]
    assert sum(last.values()) <= 4_000_000
    (gain,) = moves[0].expected
    assert 0.0 < gain.low < gain.expected < gain.high
    assert gain.measure == "clicks_a_day_of_all_moves"


def test_modifiers_and_moves_are_the_same_after_a_restart_and_with_other_spans() -> None:
    steps = steps_of(portfolio(), 50, T0)
    straight = [encode_decision(d) for d in Flow().run(steps).decisions()]
    cut = [encode_decision(d) for d in Flow().run(steps_of(portfolio(), 7, T0)).decisions()]
    half = len(steps) // 2
    restarted = [encode_decision(d) for d in Flow().run(steps[:half]).restart().run(steps[half:]).decisions()]
    assert straight == restarted == cut
