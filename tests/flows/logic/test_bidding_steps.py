"""Strategies in the dataflow: a market that answers to the decisions of a campaign shard."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from schemas.decisions import Decision, Kind, Mode, encode_decision
from tests.flows.logic.market import Market
from tests.flows.logic.stream import Ev, Flow, Item, Tick, definition, steps_of

# A Wednesday, 08:00 UTC.
T0 = 1_769_587_200_000
DAY_MS = 86_400_000
BIDDING: dict[str, Any] = {"strategy": "max_clicks", "bid_micros": 800_000, "learning_events": 0}


def market(bidding: dict[str, Any] | None = None, budget: int | None = 12_000_000, **given: Any) -> Market:
    made = Market(T0, **given)
    made.say(definition(daily_budget_micros=budget, bidding=BIDDING | (bidding or {})))
    return made


def of_kind(decisions: list[Decision], kind: Kind) -> list[Decision]:
    return [d for d in decisions if d.kind == kind]


def test_the_first_bid_of_a_strategy_is_sent_out_at_once() -> None:
    (first,) = market().decisions
    assert (first.kind, first.before.bid_micros, first.after.bid_micros) == ("set_bid", None, 800_000)
    assert first.undo is None


@pytest.mark.parametrize("budget", [3_000_000, 12_000_000])
def test_spend_of_max_clicks_follows_the_budget_over_what_is_left_of_the_day(budget: int) -> None:
    made = market(budget=budget).run(2_880)
    # Four of sixteen hours are gone.
    assert 0.15 < made.spent_micros / budget < 0.4
    assert made.running


def test_bids_keep_to_floor_cap_step_and_cooldown() -> None:
    limits = {"bid_floor_micros": 700_000, "bid_cap_micros": 1_100_000, "max_change": 0.1, "cooldown_ms": 120_000}
    bids = of_kind(market(limits, budget=60_000_000).run(720).decisions, Kind.SET_BID)[1:]
    assert len(bids) > 2
    for decision in bids:
        before, after = decision.before.bid_micros, decision.after.bid_micros
        assert 700_000 <= after <= 1_100_000
        assert abs(after - before) <= 0.1 * before
    times = [decision.ts_ms for decision in bids]
    assert min(later - sooner for sooner, later in pairwise(times)) >= 120_000


def test_a_manual_bid_stays_and_the_pacing_rate_saves_the_budget() -> None:
    made = market({"strategy": "manual", "bid_micros": 1_500_000}, budget=3_000_000).run(720)
    assert [d.after.bid_micros for d in of_kind(made.decisions, Kind.SET_BID)] == [1_500_000]
    assert made.pacing_rate < 0.6
    assert of_kind(made.decisions, Kind.SET_PACING)


@pytest.mark.parametrize("budget", [60_000_000, 500_000], ids=["running", "paused_by_budget"])
def test_outside_the_day_parts_the_campaign_takes_no_part(budget: int) -> None:
    hour = 2 * 24 + 8
    made = market({"day_parts": [hour]}, budget).run(600)
    assert made.pacing_rate > 0.0
    made.run(240)
    assert made.pacing_rate == 0.0
    assert of_kind(made.decisions, Kind.SET_PACING)[-1].reason == "day_part"


def test_day_parts_hold_before_the_first_event() -> None:
    made = Market(T0)
    made.say(definition(bidding=BIDDING | {"day_parts": [0]}))
    made.say()
    assert made.pacing_rate == 0.0


def test_automation_stops_when_clicks_no_longer_come_and_says_so() -> None:
    made = market({"learning_events": 20}).run(720)
    made.click_rate = 0.0
    made.run(720)
    halts = of_kind(made.decisions, Kind.HALT)
    assert [d.reason for d in halts] == ["outcome_out_of_band"]
    assert not of_kind(made.decisions[made.decisions.index(halts[0]) :], Kind.SET_BID)
    assert made.flow.live()["a"].bidding["halted"] == 1


@pytest.mark.parametrize("mode", [Mode.RECOMMEND, Mode.DRY_RUN])
def test_modes_that_do_not_act_leave_the_bid_and_say_a_change_once(mode: Mode) -> None:
    made = market({"mode": mode.value}, budget=60_000_000).run(240)
    assert made.bid_micros is None
    assert {d.mode for d in made.decisions} == {mode.value}
    bids = of_kind(made.decisions, Kind.SET_BID)
    assert {d.before.bid_micros for d in bids} <= {800_000}
    made.bid_micros = 800_000
    made.run(240)
    assert 1 <= len(of_kind(made.decisions, Kind.SET_BID)) < 5


def test_a_campaign_of_the_past_is_steered_by_its_own_clock() -> None:
    """Definitions come by today's clock, the events from years ago."""
    past = T0 - 4_000 * DAY_MS
    items: list[Item] = [Tick(T0, (definition(daily_budget_micros=10**9, bidding=BIDDING),)), Tick(T0 + 1_000)]
    for minute in range(120):
        items += [Ev(100 * minute + k, past + 60_000 * minute + 100 * k, cost=1_000) for k in range(50)]
        items.append(Tick(T0 + 1_000 * minute + 2_000))
    flow = Flow().run(steps_of(items, 25, T0))
    bids = of_kind(flow.decisions(), Kind.SET_BID)[1:]
    assert bids
    assert all(past < d.ts_ms < past + DAY_MS for d in bids)
    assert flow.live()["a"].budgets[0].in_flight_micros == 0


def test_live_rows_say_what_bidding_has_set() -> None:
    made = market().run(60)
    shown = made.flow.live()["a"].bidding
    assert shown["strategy"] == "max_clicks"
    assert (shown["mode"], shown["bid_micros"], shown["pacing_rate"]) == ("auto", made.bid_micros, made.pacing_rate)
    assert shown["goal"] is None


def test_without_a_strategy_nothing_is_proposed_and_nothing_shown() -> None:
    made = Market(T0, bid_micros=900_000)
    made.say(definition(daily_budget_micros=10**9))
    made.run(60)
    assert made.decisions == []
    assert made.flow.live()["a"].bidding == {}


def replay(made: Market, restart_at: frozenset[int] = frozenset(), shards: int = 1) -> list[bytes]:
    flow = Flow(shards)
    for number, step in enumerate(made.steps):
        if number in restart_at:
            flow.restart()
        flow.run([step])
    return [encode_decision(d) for d in flow.decisions()]


@pytest.fixture(scope="module")
def course() -> Market:
    made = market({"strategy": "target_cpa", "target_cpa_micros": 150_000, "exploration_share": 0.1}, delay_ms=20_000)
    return made.run(360)


def test_a_replay_decides_the_same_byte_for_byte(course: Market) -> None:
    made = [encode_decision(d) for d in course.decisions]
    assert len(made) > 5
    assert replay(course) == made


def test_a_restart_in_the_middle_changes_no_decision(course: Market) -> None:
    assert replay(course, frozenset({100, 101, 333})) == [encode_decision(d) for d in course.decisions]


def test_four_shards_decide_what_one_does(course: Market) -> None:
    assert replay(course, shards=4) == [encode_decision(d) for d in course.decisions]


def test_where_a_span_ends_changes_no_decision() -> None:
    items: list[Item] = [Tick(T0, (definition(daily_budget_micros=10**7, bidding=BIDDING),))]
    for tick in range(200):
        items += [Ev(100 * tick + k, T0 + 5_000 * tick + 30 * k, cost=900 + k, type=1 + k % 2) for k in range(12)]
        items.append(Tick(T0 + 5_000 * tick + 5_000))
    ways = [[encode_decision(d) for d in Flow().run(steps_of(items, span, T0)).decisions()] for span in (1, 5, 1_000)]
    assert len(ways[0]) > 3
    assert ways[0] == ways[1] == ways[2]
