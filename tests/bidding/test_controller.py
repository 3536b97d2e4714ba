"""The campaign controller: bounded, explained, replayable."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidding.controller import step
from bidding.explain import explain
from bidding.learn import Rules, first_state
from bidding.observation import Observation
from bidding.proposal import as_decision
from bidding.state import decode_state, encode_state
from schemas.campaigns import Bidding
from schemas.decision_parts import Undo
from schemas.decisions import Kind, Mode, Reason
from schemas.live import BudgetState
from schemas.strategies import SPECS

DAY_MS = 86_400_000
MIDNIGHT_MS = 1_772_409_600_000
MINUTE_MS = 60_000


def day_budget(budget: int, spent: int, start_ms: int = MIDNIGHT_MS) -> BudgetState:
    return BudgetState(
        period="day",
        budget_micros=budget,
        spent_micros=spent,
        in_flight_micros=0,
        period_start_ms=start_ms,
        period_end_ms=start_ms + DAY_MS,
    )


def run(bidding: Bidding, observations: list[Observation]):
    state, made, rules = first_state(bidding), [], Rules(bidding)
    for seen in observations:
        state, proposals = step(state, seen, rules)
        made.append(proposals)
    return state, made


events = st.builds(
    lambda gap, spend, impressions, clicks, conversions, spent: (gap, spend, impressions, clicks, conversions, spent),
    st.integers(-5_000, 7_200_000),
    st.integers(0, 50_000_000),
    st.integers(0, 50_000),
    st.integers(0, 2_000),
    st.integers(0, 200),
    st.integers(0, 200_000_000),
)
biddings = st.builds(
    Bidding,
    strategy=st.sampled_from(list(SPECS)),
    bid_micros=st.integers(1, 20_000_000),
    target_cpa_micros=st.just(5_000_000),
    target_roas=st.just(3.0),
    max_change=st.floats(0.01, 1.0),
    learning_events=st.integers(0, 50),
    exploration_share=st.sampled_from([0.0, 0.2]),
    pacing=st.sampled_from(["even", "asap"]),
    bid_cap_micros=st.sampled_from([None, 30_000_000]),
)


def observed(stream) -> list[Observation]:
    now_ms, made = MIDNIGHT_MS, []
    for gap, spend, impressions, clicks, conversions, spent in stream:
        now_ms += gap
        made.append(
            Observation(
                now_ms=now_ms,
                budgets=(day_budget(100_000_000, spent),),
                spend_micros=spend,
                impressions=impressions,
                clicks=clicks,
                conversions=conversions,
                revenue_micros=conversions * 9_000_000,
            )
        )
    return made


@settings(max_examples=60, deadline=None)
@given(bidding=biddings, stream=st.lists(events, max_size=25))
def test_a_change_never_exceeds_its_cap_nor_comes_within_the_cooldown(bidding, stream):
    _, made = run(bidding, observed(stream))
    last_ms = None
    for proposal in (p for proposals in made for p in proposals if p.kind is Kind.SET_BID):
        before, after = proposal.before.bid_micros, proposal.after.bid_micros
        assert abs(after - before) <= bidding.max_change * before
        assert last_ms is None or proposal.ts_ms - last_ms >= bidding.cooldown_ms
        last_ms = proposal.ts_ms


@settings(max_examples=40, deadline=None)
@given(bidding=biddings, stream=st.lists(events, max_size=20), cut=st.integers(0, 20))
def test_replaying_a_prefix_and_then_the_rest_from_a_snapshot_gives_the_same_bytes(bidding, stream, cut):
    seen, rules = observed(stream), Rules(bidding)
    whole, made = run(bidding, seen)
    state, _ = run(bidding, seen[:cut])
    state = decode_state(encode_state(state))
    again = []
    for observation in seen[cut:]:
        state, proposals = step(state, observation, rules)
        again.append(proposals)
    assert msgspec.json.encode(again) == msgspec.json.encode(made[cut:])
    assert encode_state(state) == encode_state(whole)


@settings(max_examples=40, deadline=None)
@given(bidding=biddings, stream=st.lists(events, min_size=1, max_size=10))
def test_a_step_leaves_the_state_it_was_given_as_it_was(bidding, stream):
    state = first_state(bidding)
    for observation in observed(stream):
        before = encode_state(state)
        after, _ = step(state, observation, Rules(bidding))
        assert encode_state(state) == before
        state = after


def minutes(count: int, **each) -> list[Observation]:
    """One observation a minute; `spent` is what the day has spent so far."""
    spend = each.pop("spend_micros", 0)
    budget = each.pop("budget", 100_000_000)
    return [
        Observation(
            now_ms=MIDNIGHT_MS + i * MINUTE_MS, budgets=(day_budget(budget, i * spend),), spend_micros=spend, **each
        )
        for i in range(count)
    ]


def changes(made):
    return [p for proposals in made for p in proposals]


CLICKS = Bidding(strategy="max_clicks", bid_micros=2_000_000)


def test_spend_behind_the_plan_raises_the_bid():
    _, made = run(CLICKS, minutes(30, spend_micros=10_000, impressions=100))
    bids = [p for p in changes(made) if p.kind is Kind.SET_BID]
    assert bids
    assert {p.reason for p in bids} == {Reason.PACING_BEHIND}
    assert all(p.after.bid_micros > p.before.bid_micros for p in bids)


def test_spend_ahead_of_the_plan_lowers_the_bid_and_throttles():
    _, made = run(CLICKS, minutes(10, spend_micros=400_000, impressions=100))
    kinds = {p.kind for p in changes(made)}
    assert kinds == {Kind.SET_BID, Kind.SET_PACING}
    assert {p.reason for p in changes(made)} == {Reason.PACING_AHEAD}


@pytest.mark.parametrize("richer", [1.2, 2.0, 10.0], ids=lambda f: f"budget times {f}")
def test_the_bid_rises_with_the_budget(richer):
    poor, _ = run(CLICKS, minutes(20, spend_micros=60_000, impressions=100))
    rich, _ = run(CLICKS, minutes(20, spend_micros=60_000, impressions=100, budget=round(100_000_000 * richer)))
    assert rich.bid_micros >= poor.bid_micros
    assert rich.pacing_rate >= poor.pacing_rate


def test_a_manual_bid_is_throttled_but_never_moved():
    bidding = Bidding(strategy="manual", bid_micros=2_000_000)
    state, made = run(bidding, minutes(10, spend_micros=400_000, impressions=100))
    assert state.bid_micros == 2_000_000
    assert {p.kind for p in changes(made)} == {Kind.SET_PACING}


@pytest.mark.parametrize("field", ["overridden", "paused"])
def test_nothing_is_proposed_while_a_person_rules_or_the_campaign_is_paused(field):
    _, made = run(CLICKS, minutes(20, spend_micros=10_000, impressions=100, **{field: True}))
    assert changes(made) == []


def test_the_bid_in_force_is_taken_over_from_a_person_or_an_undo():
    state, _ = run(CLICKS, minutes(3, spend_micros=60_000, impressions=100))
    state, _ = step(
        state, Observation(now_ms=MIDNIGHT_MS + 4 * MINUTE_MS, bid_in_force_micros=777, overridden=True), Rules(CLICKS)
    )
    assert state.bid_micros == 777


def test_outside_its_day_parts_the_pacing_rate_is_zero_and_comes_back():
    bidding = CLICKS.model_copy(update={"day_parts": [1]})
    state, made = run(bidding, minutes(2))
    assert state.pacing_rate == 0.0
    assert [p.reason for p in changes(made)] == [Reason.DAY_PART]
    state, proposals = step(
        state,
        Observation(now_ms=MIDNIGHT_MS + 61 * MINUTE_MS, budgets=(day_budget(100_000_000, 0),)),
        Rules(bidding),
    )
    assert state.pacing_rate == 1.0
    assert Kind.SET_PACING in {p.kind for p in proposals}


def test_clicks_that_stop_coming_halt_automation_and_their_return_sets_it_going():
    good = [
        Observation(now_ms=MIDNIGHT_MS + i * MINUTE_MS, impressions=1_000, clicks=10, spend_micros=1_000)
        for i in range(30)
    ]
    dead = [
        Observation(now_ms=MIDNIGHT_MS + (30 + i) * MINUTE_MS, impressions=1_000, spend_micros=1_000) for i in range(20)
    ]
    back = [
        Observation(now_ms=MIDNIGHT_MS + (50 + i) * MINUTE_MS, impressions=1_000, clicks=10, spend_micros=1_000)
        for i in range(60)
    ]
    _, made = run(CLICKS, good + dead + back)
    standing = [(p.kind, p.reason) for p in changes(made) if p.kind in (Kind.HALT, Kind.PROCEED)]
    assert standing == [(Kind.HALT, Reason.OUTCOME_OUT_OF_BAND), (Kind.PROCEED, Reason.OUTCOME_BACK_IN_BAND)]


def test_a_goal_is_not_steered_for_before_the_learning_events():
    bidding = Bidding(strategy="target_cpa", bid_micros=2_000_000, target_cpa_micros=1_000, learning_events=1_000)
    _, made = run(bidding, minutes(30, spend_micros=10_000, impressions=100, clicks=5, conversions=1))
    assert {p.reason for p in changes(made)} <= {Reason.LEARNING, Reason.PACING_AHEAD, Reason.PACING_BEHIND}


def test_a_cost_above_the_goal_lowers_the_bid_and_one_below_raises_it():
    for cpa, reason in ((20_000, Reason.GOAL_WORSE), (500_000, Reason.GOAL_BETTER)):
        bidding = Bidding(strategy="target_cpa", bid_micros=200_000, target_cpa_micros=cpa)
        steps = minutes(90, spend_micros=50_000, impressions=1_000, clicks=20, conversions=1, budget=10**12)
        _, made = run(bidding, steps)
        assert reason in {p.reason for p in changes(made) if p.kind is Kind.SET_BID}, reason


def test_a_decision_can_be_explained_and_undone():
    _, made = run(CLICKS, minutes(5, spend_micros=10_000, impressions=100))
    proposal = changes(made)[0]
    decision = as_decision(proposal, org_id="o", campaign_id="c", mode=Mode.RECOMMEND, effective_ms=proposal.ts_ms)
    assert decision.undo == Undo(kind="set_bid", after=proposal.before)
    text = explain(decision)
    for part in ("bid of campaign c", "behind the plan", "2.00 ->", "waits for a person", "90% between", "to undo"):
        assert part in text, text


@pytest.mark.parametrize("reason", list(Reason), ids=str)
@pytest.mark.parametrize("kind", [Kind.SET_BID, Kind.PAUSE], ids=str)
def test_every_reason_has_its_words(kind, reason):
    _, made = run(CLICKS, minutes(5, spend_micros=10_000, impressions=100))
    decision = as_decision(changes(made)[0], org_id="o", campaign_id="c", mode=Mode.AUTO, effective_ms=0)
    decision.kind, decision.reason = kind.value, reason.value
    assert len(explain(decision).splitlines()[0]) > 30


@settings(max_examples=40, deadline=None)
@given(bidding=biddings, stream=st.lists(events, max_size=25))
def test_a_campaign_that_spends_as_soon_as_possible_is_never_throttled(bidding, stream):
    bidding = bidding.model_copy(update={"pacing": "asap"})
    _, made = run(bidding, observed(stream))
    rates = [p.after.pacing_rate for proposals in made for p in proposals if p.kind is Kind.SET_PACING]
    assert all(rate == 1.0 for rate in rates)
