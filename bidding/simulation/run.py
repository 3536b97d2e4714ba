"""One strategy in one scenario: the real controller against the simulated market."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from bidding.controller import step
from bidding.in_flight import reserved_micros
from bidding.learn import Rules, first_state
from bidding.observation import Observation
from bidding.pacing import spendable_micros
from bidding.proposal import Proposal
from bidding.simulation.market import STEP_MS, Bought, Conditions, Offer, buy, expected_offer, market_conditions
from bidding.simulation.scenarios import Scenario
from bidding.state import CampaignState
from bidding.strategies.registry import strategy_of
from schemas.campaigns import Bidding
from schemas.decisions import Kind
from schemas.live import BudgetState
from schemas.zones import zone_of


@dataclass(frozen=True, slots=True)
class Result:
    """How it went. `value` counts what the strategy is after; `goal_miss` is relative to the target, above 0 is a CPA
    too high or a ROAS too low; None without a goal. Overspend is the sum over days of spend beyond the day's budget."""

    scenario: str
    strategy: str
    seed: int
    spend_micros: int
    budget_micros: int
    overspend_micros: int
    impressions: int
    clicks: int
    conversions: int
    revenue_micros: int
    value: float
    hindsight_value: float
    value_ratio: float
    goal: float | None
    achieved: float | None
    goal_miss: float | None
    bid_changes: int
    pacing_changes: int
    halts: int
    halted_hours: float


@dataclass(slots=True)
class _Course:
    """What is under way in a run."""

    day_start_ms: int
    day_end_ms: int
    spent_today: int = 0
    reported_today: int = 0
    overspend: int = 0
    budget_total: int = 0
    spend: int = 0
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    revenue: int = 0
    halted_ms: int = 0
    reports: deque[tuple[int, Bought]] = field(default_factory=deque)
    arrivals: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    # (effective_ms, bid, pacing rate) under way to the auctions.
    orders: deque[tuple[int, int, float]] = field(default_factory=deque)
    proposals: list[Proposal] = field(default_factory=list)


def local_day(now_ms: int, time_zone: str) -> tuple[int, int]:
    """Start and end of the local day around a moment; 23 to 25 hours apart."""
    zone = zone_of(time_zone)
    local = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    end = datetime.combine(start.date() + timedelta(days=1), start.timetz()).replace(tzinfo=zone)
    return round(start.timestamp() * 1_000), round(end.timestamp() * 1_000)


def _budget_at(scenario: Scenario, elapsed_ms: int) -> int:
    budget = float(scenario.daily_budget_micros)
    for shift in scenario.budgets:
        budget *= shift.at(elapsed_ms)
    return round(budget)


def simulate(scenario: Scenario, bidding: Bidding, seed: int) -> Result:
    """Run the controller through the scenario; equal arguments give equal results."""
    market_rng, luck = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    conditions = market_conditions(scenario, market_rng)
    rules = Rules(bidding, scenario.time_zone)
    state = first_state(bidding)
    course = _Course(*local_day(scenario.start_ms, scenario.time_zone))
    bid, share = state.bid_micros, 1.0
    for i in range(len(conditions.auctions)):
        now_ms = scenario.start_ms + i * STEP_MS
        while course.orders and course.orders[0][0] <= now_ms:
            _, bid, share = course.orders.popleft()
        _turn_day(course, scenario, now_ms)
        budgets = _budgets(course, scenario, now_ms)
        paused = spendable_micros(budgets, reserved_micros(state.lag)) == 0
        if not paused:
            _buy(course, scenario, conditions, i, bid, share, luck)
        state = _decide(course, scenario, rules, state, now_ms + STEP_MS, paused)
        course.orders.append((now_ms + STEP_MS + scenario.decision_latency_ms, state.bid_micros, state.pacing_rate))
        course.halted_ms += STEP_MS * state.halted
    _turn_day(course, scenario, course.day_end_ms)
    return _result(course, scenario, bidding, seed, conditions)


def _turn_day(course: _Course, scenario: Scenario, now_ms: int) -> None:
    if now_ms < course.day_end_ms:
        return
    budget = _budget_at(scenario, course.day_end_ms - 1 - scenario.start_ms)
    course.overspend += max(course.spent_today - budget, 0)
    course.budget_total += budget
    course.spent_today = course.reported_today = 0
    course.day_start_ms, course.day_end_ms = local_day(now_ms, scenario.time_zone)


def _budgets(course: _Course, scenario: Scenario, now_ms: int) -> tuple[BudgetState, ...]:
    return (
        BudgetState(
            period="day",
            budget_micros=_budget_at(scenario, now_ms - scenario.start_ms),
            spent_micros=course.reported_today,
            in_flight_micros=0,
            period_start_ms=course.day_start_ms,
            period_end_ms=course.day_end_ms,
        ),
    )


def _buy(
    course: _Course,
    scenario: Scenario,
    conditions: Conditions,
    i: int,
    bid: int,
    share: float,
    luck: np.random.Generator,
) -> None:
    bought = buy(scenario, conditions.auctions[i], conditions.log_price[i], bid, share, luck)
    now_ms = scenario.start_ms + i * STEP_MS
    course.reports.append((now_ms + scenario.report_latency_ms, bought))
    course.spent_today += bought.spend_micros
    course.spend += bought.spend_micros
    course.impressions += bought.impressions
    course.clicks += bought.clicks
    course.conversions += len(bought.delays_ms)
    course.revenue += int(bought.revenues_micros.sum())
    elapsed = i * STEP_MS
    for delay, revenue in zip(bought.delays_ms.tolist(), bought.revenues_micros.tolist(), strict=True):
        at = elapsed + delay
        if not any(start <= at < end for start, end in scenario.untracked):
            course.arrivals.setdefault(int(at // STEP_MS), []).append((round(delay), revenue))


def _decide(
    course: _Course, scenario: Scenario, rules: Rules, state: CampaignState, now_ms: int, paused: bool
) -> CampaignState:
    """Hand the controller what was reported by now, and keep its proposals."""
    reported: list[Bought] = []
    while course.reports and course.reports[0][0] <= now_ms:
        reported.append(course.reports.popleft()[1])
    course.reported_today += sum(b.spend_micros for b in reported)
    came = course.arrivals.pop((now_ms - STEP_MS - scenario.start_ms) // STEP_MS, [])
    seen = Observation(
        now_ms=now_ms,
        budgets=_budgets(course, scenario, now_ms - STEP_MS),
        spend_micros=sum(b.spend_micros for b in reported),
        impressions=sum(b.impressions for b in reported),
        clicks=sum(b.clicks for b in reported),
        conversions=len(came),
        revenue_micros=sum(revenue for _, revenue in came),
        conversion_delays_ms=tuple(delay for delay, _ in came),
        paused=paused,
        reporting_delay_ms=scenario.report_latency_ms + scenario.decision_latency_ms,
    )
    after, proposals = step(state, seen, rules)
    course.proposals += proposals
    return after


def _value(bidding: Bidding, scenario: Scenario, impressions: float) -> float:
    """Expected value of impressions: clicks, conversions or revenue, as the strategy counts."""
    clicks = impressions * scenario.click_rate
    conversions = clicks * scenario.conversion_rate
    return strategy_of(bidding).value(clicks, conversions, conversions * scenario.revenue_micros)


def _keeps_goal(bidding: Bidding, scenario: Scenario, spend: float, impressions: float) -> bool:
    conversions = impressions * scenario.click_rate * scenario.conversion_rate
    strategy, goal = strategy_of(bidding), strategy_of(bidding).goal(bidding)
    achieved = strategy.achieved(spend, conversions, conversions * scenario.revenue_micros)
    if goal is None:
        return True
    return spend <= 0.0 if achieved is None else strategy.miss(goal, achieved) <= 0.0


def hindsight_impressions(scenario: Scenario, bidding: Bidding, conditions: Conditions) -> float:
    """Impressions of the best constant bid that keeps the goal over the whole run, lowered on days whose budget it
    would exceed; the market known. Equal marginal cost on all days is what the optimum has."""
    bids = np.exp(np.linspace(np.log(scenario.price_micros) - 4.0, np.log(scenario.price_micros) + 4.0, 400))
    offers: list[list[Offer]] = []
    now_ms, end_ms = scenario.start_ms, scenario.end_ms
    while now_ms < end_ms:
        stop_ms = min(local_day(now_ms, scenario.time_zone)[1], end_ms)
        span = slice((now_ms - scenario.start_ms) // STEP_MS, (stop_ms - scenario.start_ms) // STEP_MS)
        budget = _budget_at(scenario, stop_ms - 1 - scenario.start_ms)
        day = [expected_offer(scenario, conditions, span, float(bid)) for bid in bids]
        offers.append([offer for offer in day if offer.spend_micros <= budget])
        now_ms = stop_ms
    best = 0.0
    for k in range(len(bids)):
        taken = [day[min(k, len(day) - 1)] for day in offers if day]
        spend, impressions = sum(o.spend_micros for o in taken), sum(o.impressions for o in taken)
        if _keeps_goal(bidding, scenario, spend, impressions):
            best = max(best, impressions)
    return best


def _achieved(bidding: Bidding, course: _Course) -> tuple[float | None, float | None, float | None]:
    """Goal, what came of it, and the miss."""
    strategy, goal = strategy_of(bidding), strategy_of(bidding).goal(bidding)
    achieved = strategy.achieved(course.spend, course.conversions, course.revenue)
    if goal is None or achieved is None:
        return None, None, None
    return float(goal), achieved, strategy.miss(goal, achieved)


def _result(course: _Course, scenario: Scenario, bidding: Bidding, seed: int, conditions: Conditions) -> Result:
    best = _value(bidding, scenario, hindsight_impressions(scenario, bidding, conditions))
    value = _value(bidding, scenario, course.impressions)
    goal, achieved, miss = _achieved(bidding, course)
    kinds = [p.kind for p in course.proposals]
    return Result(
        scenario=scenario.name,
        strategy=bidding.strategy,
        seed=seed,
        spend_micros=course.spend,
        budget_micros=course.budget_total,
        overspend_micros=course.overspend,
        impressions=course.impressions,
        clicks=course.clicks,
        conversions=course.conversions,
        revenue_micros=course.revenue,
        value=round(value, 3),
        hindsight_value=round(best, 3),
        value_ratio=round(value / best, 4) if best else 0.0,
        goal=goal,
        achieved=None if achieved is None else round(achieved, 4),
        goal_miss=None if miss is None else round(miss, 4),
        bid_changes=kinds.count(Kind.SET_BID),
        pacing_changes=kinds.count(Kind.SET_PACING),
        halts=kinds.count(Kind.HALT),
        halted_hours=round(course.halted_ms / 3_600_000, 2),
    )
