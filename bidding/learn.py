"""What a controller learns from an observation, before it decides anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidding.exploration import Tilt, book_block
from bidding.forecast import expected_traffic, hourly_rates, learn_traffic
from bidding.guard import watch_outcome
from bidding.in_flight import learn_lag
from bidding.observation import Observation
from bidding.state import FIRST_BID_MICROS, CampaignState
from bidding.strategies.model import Strategy
from bidding.strategies.registry import strategy_of
from bidding.value.delay import expected_arrivals, observe_clicks, observe_conversions
from schemas.campaigns import Bidding

# Spend moves as this power of the bid: wins rise with the bid, and so does their price. A prior for all campaigns; the
# loop is stable for true powers between 0.5 and 3 (docs/bidding.md).
SPEND_ELASTICITY: Final = 1.5
WIN_ELASTICITY: Final = 1.0
# Memory of the spend rate: short once there are impressions enough to tell.
_RECENT_MS: Final = 1_200_000
_SPARSE_MS: Final = 5_400_000
_ENOUGH_IMPRESSIONS: Final = 50.0
# Clicks per impression are taken over about this many impressions, goals over this many conversions.
_RESPONSE_IMPRESSIONS: Final = 500_000.0
GOAL_CONVERSIONS: Final = 5_000.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a controller is set to: the campaign's strategy and calendar."""

    bidding: Bidding
    time_zone: str = "UTC"
    end_ms: int | None = None
    # Seeds which blocks explore.
    campaign_id: str = ""

    @property
    def strategy(self) -> Strategy:
        return strategy_of(self.bidding)

    @property
    def counts_conversions(self) -> bool:
        """Whether outcomes are conversions; clicks otherwise."""
        return self.strategy.counts_conversions

    @property
    def has_goal(self) -> bool:
        return self.strategy.has_goal

    @property
    def goal(self) -> float | int | None:
        """The goal as people set it; None without one."""
        return self.strategy.goal(self.bidding)

    def outcomes(self, state: CampaignState) -> int:
        """How many outcomes were seen so far."""
        return state.conversions if self.counts_conversions else state.clicks

    def rates(self, state: CampaignState) -> NDArray[np.float64]:
        """Expected traffic per hour of the week."""
        parts = self.bidding.day_parts
        return hourly_rates(state.traffic, None if parts is None else frozenset(parts))


def first_state(bidding: Bidding) -> CampaignState:
    """The state before the first observation."""
    start = bidding.bid_micros or bidding.bid_floor_micros or FIRST_BID_MICROS
    if bidding.bid_cap_micros is not None:
        start = min(start, bidding.bid_cap_micros)
    return CampaignState(bid_micros=start, first_bid_micros=start)


def learn(state: CampaignState, seen: Observation, rules: Rules) -> CampaignState:
    """A new state that knows of `seen`; `state` is left as it was. An observation of the past teaches no time."""
    after = msgspec.structs.replace(state, step=state.step + 1)
    since_ms = seen.now_ms if state.seen_ms is None else state.seen_ms
    span_ms = max(seen.now_ms - since_ms, 0)
    after.seen_ms = max(seen.now_ms, since_ms)
    _follow_bid(after, seen)
    after.lag = learn_lag(state.lag, seen.spend_micros, span_ms, seen.reporting_delay_ms)
    if span_ms > 0 and not seen.paused and state.pacing_rate > 0.0:
        _learn_spend(after, seen, since_ms, rules)
    if rules.bidding.exploration_share > 0.0:
        _book_exploration(after, seen, rules)
    after.impressions += seen.impressions
    after.clicks += seen.clicks
    after.conversions += seen.conversions
    _learn_outcome(after, seen, rules)
    return after


def _follow_bid(after: CampaignState, seen: Observation) -> None:
    """The bid in force rules, whoever set it."""
    in_force = seen.bid_in_force_micros
    if in_force is not None and in_force != after.bid_micros:
        move_bid(after, in_force)


def move_bid(after: CampaignState, bid_micros: int) -> None:
    """Set the bid, and what recent spend would have been at it."""
    after.recent_spend *= (bid_micros / after.bid_micros) ** SPEND_ELASTICITY
    after.bid_micros = bid_micros


def _learn_spend(after: CampaignState, seen: Observation, since_ms: int, rules: Rules) -> None:
    now_ms = seen.now_ms
    expected = expected_traffic(rules.rates(after), since_ms, now_ms, rules.time_zone)
    memory_ms = _RECENT_MS if after.recent_impressions > _ENOUGH_IMPRESSIONS else _SPARSE_MS
    kept = math.exp(-(now_ms - since_ms) / memory_ms)
    after.recent_spend = after.recent_spend * kept + seen.spend_micros / after.pacing_rate
    after.recent_traffic = after.recent_traffic * kept + expected
    after.recent_impressions = after.recent_impressions * kept + seen.impressions
    if seen.eligible is not None:
        traffic = float(seen.eligible)
    else:
        # Impressions as the first bid at full pacing would have had them: traffic, not the bid's own doing.
        at_first = (after.first_bid_micros / after.bid_micros) ** WIN_ELASTICITY
        traffic = seen.impressions / after.pacing_rate * at_first
    after.traffic = learn_traffic(after.traffic, since_ms, now_ms, traffic, rules.time_zone)


def _book_exploration(after: CampaignState, seen: Observation, rules: Rules) -> None:
    """Book the step's spend; an explored step costs what it spent beyond its clicks at the campaign's usual price."""
    plain = after.exploration.spend_micros - after.exploration.explored_micros
    per_click = plain / after.clicks if after.clicks else 0.0
    tilt = Tilt(after.tilt, after.tilt != 1.0)
    after.exploration = book_block(after.exploration, tilt, seen.spend_micros, float(seen.clicks), per_click)


def _learn_outcome(after: CampaignState, seen: Observation, rules: Rules) -> None:
    """Response, goal totals and the breaker; while the breaker is open nothing is believed about conversions."""
    now_ms = after.seen_ms or seen.now_ms
    learned = after.conversions if rules.counts_conversions else after.clicks
    due = 0.0
    if rules.counts_conversions:
        due = expected_arrivals(after.delays, now_ms)
    elif after.response_impressions > 0.0:
        due = seen.impressions * after.response_clicks / after.response_impressions
    if learned >= max(rules.bidding.learning_events, 20):
        after.breaker = watch_outcome(after.breaker, due, seen.conversions if rules.counts_conversions else seen.clicks)
    if rules.counts_conversions:
        after.delays = observe_clicks(after.delays, now_ms, seen.clicks, believed=not after.breaker.open)
    if after.breaker.open:
        return
    after.response_impressions += seen.impressions
    after.response_clicks += seen.clicks
    if after.response_impressions > _RESPONSE_IMPRESSIONS:
        kept = _RESPONSE_IMPRESSIONS / after.response_impressions
        after.response_impressions *= kept
        after.response_clicks *= kept
    if not rules.counts_conversions:
        return
    after.delays = observe_conversions(after.delays, seen.conversions, seen.conversion_delays_ms)
    after.goal_spend += seen.spend_micros
    after.goal_conversions += seen.conversions
    after.goal_revenue += seen.revenue_micros
    if after.goal_conversions > GOAL_CONVERSIONS:
        kept = GOAL_CONVERSIONS / after.goal_conversions
        after.goal_spend *= kept
        after.goal_conversions *= kept
        after.goal_revenue *= kept
