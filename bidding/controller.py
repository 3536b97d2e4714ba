"""A campaign's controller: `(state, observation) -> (state, proposals)`, called every few seconds of campaign time.

The budget sets one bid, the goal another, the smaller one counts. The budget's bid is the one at which recent spend per
unit of forecast traffic meets the plan (bidding/pacing.py), spend being taken to move as a power of the bid:

    bid_budget = bid * (plan / observed rate) ** (1 / elasticity)

What the bid cannot do in time (a cap on changes, a cooldown, a bid floor, a manual bid) the pacing rate does: the share
of eligible auctions to take part in.
"""

from __future__ import annotations

import math
from typing import Final

from bidding.exploration import tilt_for
from bidding.forecast import hour_of_week
from bidding.goal import goal_bid_micros, impression_worth_micros, steer_goal
from bidding.guard import bounded_bid, cooled_down
from bidding.in_flight import reserved_micros
from bidding.learn import SPEND_ELASTICITY, Rules, learn, move_bid
from bidding.observation import Observation
from bidding.pacing import Plan, plan_spend
from bidding.proposal import Proposal
from bidding.state import CampaignState
from schemas.decision_parts import (
    AutomationChange,
    BidChange,
    BreakerInputs,
    ControllerInputs,
    Effect,
    PacingChange,
)
from schemas.decisions import Kind, Reason

# The goal's multiplier learns on while the goal's bid is at most this far above the budget's; beyond, it would wind up.
_NEAR: Final = 1.3
# ASAP aims to spend what is left within this share of the traffic left.
_ASAP_SHARE: Final = 0.25
# Below this ratio of plan to predicted spend the pacing rate helps; nearer to 1 the bid alone does.
_THROTTLE_BELOW: Final = 0.75
# Changes smaller than these are not worth a message to a platform.
_BID_CHANGE_MIN: Final = 0.03
_PACING_CHANGE_MIN: Final = 0.1
_PACING_MIN: Final = 0.02
# A bid that has won less than this is still looking for the market's level, learning guard or not.
_FOUND_IMPRESSIONS: Final = 1_000
_Z90: Final = 1.645


def step(state: CampaignState, seen: Observation, rules: Rules) -> tuple[CampaignState, list[Proposal]]:
    """The state after an observation, and what should change; at most one proposal a kind.

    Proposals are taken as done in the new state; `Observation.bid_in_force_micros` corrects that at the next step where
    a person or a platform saw it otherwise.
    """
    after = learn(state, seen, rules)
    standing = _standing(after, seen, halted_before=state.halted)
    if seen.overridden or seen.paused or after.halted:
        return after, [*standing, *_day_part_alone(after, seen, rules)]
    plan = _plan(after, seen, rules)
    proposals = list(standing)
    day_part = _day_part(after, seen, rules)
    if day_part is not None:
        return after, [*proposals, *day_part]
    wanted, reason = _wanted_bid(after, seen, rules, plan)
    if (
        wanted is not None
        and not seen.bid_held
        and cooled_down(state.changed_ms, seen.now_ms, rules.bidding.cooldown_ms)
    ):
        tilt = tilt_for(rules.campaign_id, seen.now_ms, rules.bidding.exploration_share, after.exploration)
        if tilt.factor != after.tilt:
            reason = Reason.EXPLORATION
        proposals += _bid_change(after, seen, rules, plan, wanted * tilt.factor, reason)
        after.tilt = tilt.factor
    proposals += _pacing_change(after, seen, rules, plan)
    return after, proposals


def _standing(after: CampaignState, seen: Observation, *, halted_before: bool) -> list[Proposal]:
    """Halt or proceed when the circuit breaker opened or closed."""
    after.halted = after.breaker.open
    if after.halted == halted_before:
        return []
    kind, reason = (
        (Kind.HALT, Reason.OUTCOME_OUT_OF_BAND) if after.halted else (Kind.PROCEED, Reason.OUTCOME_BACK_IN_BAND)
    )
    words = {True: "halted", False: "running"}
    return [
        Proposal(
            kind=kind,
            reason=reason,
            ts_ms=seen.now_ms,
            step=after.step,
            before=AutomationChange(words[halted_before]),
            after=AutomationChange(words[after.halted]),
            inputs=BreakerInputs(
                expected_outcomes=round(after.breaker.expected, 3), outcomes=round(after.breaker.arrived, 3)
            ),
        )
    ]


def _plan(after: CampaignState, seen: Observation, rules: Rules) -> Plan:
    reserved = reserved_micros(after.lag)
    plan = plan_spend(seen.budgets, seen.now_ms, rules.end_ms, rules.rates(after), rules.time_zone, reserved)
    if rules.bidding.pacing == "asap" and plan.rate is not None:
        return plan._replace(rate=plan.rate / _ASAP_SHARE)
    return plan


def _day_part(after: CampaignState, seen: Observation, rules: Rules) -> list[Proposal] | None:
    """Outside the day parts the pacing rate is 0; None when inside."""
    parts = rules.bidding.day_parts
    if parts is None or hour_of_week(seen.now_ms, rules.time_zone) in parts:
        return None
    return _set_pacing(after, seen, 0.0, Reason.DAY_PART, ControllerInputs()) if after.pacing_rate != 0.0 else []


def _day_part_alone(after: CampaignState, seen: Observation, rules: Rules) -> list[Proposal]:
    """Day parts are a person's word: they hold while nothing else is steered."""
    outside = _day_part(after, seen, rules)
    if outside is not None:
        return outside
    return _set_pacing(after, seen, 1.0, Reason.PACING_BEHIND, ControllerInputs()) if after.pacing_rate == 0.0 else []


def spend_ratio(after: CampaignState, plan: Plan) -> float | None:
    """Planned over predicted spend at today's bid and full pacing; None while either is unknown."""
    if plan.rate is None or after.recent_traffic <= 0.0:
        return None
    observed = after.recent_spend / after.recent_traffic
    return min(max(plan.rate / observed, 0.01), 100.0) if observed > 0.0 else 100.0


def _wanted_bid(after: CampaignState, seen: Observation, rules: Rules, plan: Plan) -> tuple[float | None, Reason]:
    """The bid to move to, before caps; None where nothing says what it should be."""
    if not rules.strategy.sets_bid:
        return None, Reason.MANUAL_OVERRIDE
    ratio = spend_ratio(after, plan)
    by_budget = None if ratio is None else after.bid_micros * ratio ** (1.0 / SPEND_ELASTICITY)
    by_budget_reason = Reason.PACING_BEHIND if ratio is not None and ratio > 1.0 else Reason.PACING_AHEAD
    if not rules.has_goal:
        return by_budget, by_budget_reason
    if after.conversions < rules.bidding.learning_events:
        if by_budget is None:
            return None, Reason.LEARNING
        found = after.impressions >= _FOUND_IMPRESSIONS
        return (min(by_budget, max(after.first_bid_micros, 1)) if found else by_budget), Reason.LEARNING
    by_goal = goal_bid_micros(after, rules)
    steer_goal(
        after, rules, seen.conversions, binding=by_goal is None or by_budget is None or by_goal < _NEAR * by_budget
    )
    by_goal = goal_bid_micros(after, rules)
    if by_goal is None or (by_budget is not None and by_budget <= by_goal):
        return by_budget, by_budget_reason
    return by_goal, Reason.GOAL_BETTER if by_goal > after.bid_micros else Reason.GOAL_WORSE


def _inputs(after: CampaignState, seen: Observation, plan: Plan, rules: Rules | None = None) -> ControllerInputs:
    """The numbers that a decision names."""
    inputs = ControllerInputs(
        plan_micros_per_traffic=None if plan.rate is None else round(plan.rate, 6),
        observed_micros_per_traffic=round(after.recent_spend / max(after.recent_traffic, 1e-9), 6),
        traffic_left=round(plan.traffic_left, 3),
        spendable_micros=plan.spendable_micros,
        ruling_budget=plan.period,
        gap_share=round(plan.gap, 6),
        in_flight_micros=reserved_micros(after.lag),
        log_goal=round(after.log_goal, 6),
        impressions=after.impressions,
        clicks=after.clicks,
        conversions=after.conversions,
    )
    for budget in seen.budgets:
        setattr(inputs, f"spent_{budget.period}_micros", budget.spent_micros)
        setattr(inputs, f"budget_{budget.period}_micros", budget.budget_micros)
    if rules is not None and rules.has_goal:
        worth = impression_worth_micros(after, rules)
        inputs.worth_cpm_micros = None if worth is None else round(worth)
    return inputs


def _bid_change(
    after: CampaignState, seen: Observation, rules: Rules, plan: Plan, wanted: float, reason: Reason
) -> list[Proposal]:
    """A proposal to move the bid towards what is wanted, as far as one step may go."""
    before = after.bid_micros
    bid = bounded_bid(before, wanted, rules.bidding)
    if abs(bid - before) < max(_BID_CHANGE_MIN * before, 1.0):
        return []
    inputs = _inputs(after, seen, plan, rules)
    inputs.wanted_bid_micros = round(min(wanted, 1e15))
    effects = _effects(after, plan, bid)
    move_bid(after, bid)
    after.changed_ms = seen.now_ms
    return [
        Proposal(
            kind=Kind.SET_BID,
            reason=reason,
            ts_ms=seen.now_ms,
            step=after.step,
            before=BidChange(before),
            after=BidChange(bid),
            inputs=inputs,
            expected=effects,
        )
    ]


def _effects(after: CampaignState, plan: Plan, bid_micros: int) -> tuple[Effect, ...]:
    """Expected relative change of the spend rate and of impressions, with 90% intervals.

    The power by which spend follows the bid is uncertain by 0.5, the observed rate by its count of impressions.
    """
    if after.recent_traffic <= 0.0 or after.recent_spend <= 0.0:
        return ()
    move = math.log(bid_micros / after.bid_micros)
    sigma = math.sqrt(1.0 / (after.recent_impressions + 1.0) + (0.5 * move) ** 2)
    rate = after.recent_spend / after.recent_traffic * math.exp(SPEND_ELASTICITY * move)
    spread = math.exp(_Z90 * sigma)
    effects = [Effect("spend_micros_per_traffic", round(rate, 6), round(rate / spread, 6), round(rate * spread, 6))]
    if plan.spendable_micros is not None and plan.traffic_left > 0.0:
        low, middle, high = (
            round(min(rate * factor * plan.traffic_left, float(plan.spendable_micros)))
            for factor in (1.0 / spread, 1.0, spread)
        )
        effects.append(Effect("spend_micros_to_period_end", middle, low, high))
    return tuple(effects)


def _pacing_change(after: CampaignState, seen: Observation, rules: Rules, plan: Plan) -> list[Proposal]:
    """Throttle while spend at today's bid would run well ahead of the plan; full participation otherwise.

    A person who asked for `asap` is never throttled.
    """
    ratio = spend_ratio(after, plan)
    rate = 1.0
    if rules.bidding.pacing == "even" and ratio is not None and ratio < _THROTTLE_BELOW:
        rate = max(round(ratio, 3), _PACING_MIN)
    same = abs(rate - after.pacing_rate) < _PACING_CHANGE_MIN and (rate < 1.0 or after.pacing_rate == 1.0)
    if same:
        return []
    reason = Reason.PACING_AHEAD if rate < after.pacing_rate else Reason.PACING_BEHIND
    return _set_pacing(after, seen, rate, reason, _inputs(after, seen, plan))


def _set_pacing(
    after: CampaignState, seen: Observation, rate: float, reason: Reason, inputs: ControllerInputs
) -> list[Proposal]:
    before, after.pacing_rate = after.pacing_rate, rate
    return [
        Proposal(
            kind=Kind.SET_PACING,
            reason=reason,
            ts_ms=seen.now_ms,
            step=after.step,
            before=PacingChange(before),
            after=PacingChange(rate),
            inputs=inputs,
        )
    ]
