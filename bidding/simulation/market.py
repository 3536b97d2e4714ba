"""The market: how many auctions there are, what they cost, what they bring. Chance comes from the caller."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from bidding.forecast import hour_of_week
from bidding.simulation.scenarios import DAILY_RHYTHM, DAY_MS, HOUR_MS, Scenario

STEP_MS: Final = 60_000


class Conditions(NamedTuple):
    """The market at each step: expected auctions, log of the median price; shape (steps,)."""

    auctions: NDArray[np.float64]
    log_price: NDArray[np.float64]


class Bought(NamedTuple):
    """One step's outcome; delays are from click to conversion, one a conversion."""

    spend_micros: int
    eligible: int
    impressions: int
    clicks: int
    delays_ms: NDArray[np.float64]
    revenues_micros: NDArray[np.int64]


def market_conditions(scenario: Scenario, rng: np.random.Generator) -> Conditions:
    """The market's course, drawn once: the same for every strategy with the same seed."""
    hours = (scenario.end_ms - scenario.start_ms) // HOUR_MS
    steps = hours * HOUR_MS // STEP_MS
    elapsed = np.arange(steps) * STEP_MS
    by_hour = [
        DAILY_RHYTHM[hour_of_week(scenario.start_ms + int(h) * HOUR_MS, scenario.time_zone) % 24] for h in range(hours)
    ]
    per_step = scenario.auctions_a_day * STEP_MS / HOUR_MS
    auctions = per_step * np.repeat(by_hour, HOUR_MS // STEP_MS)
    wander = np.cumsum(rng.normal(0.0, scenario.price_wander * math.sqrt(STEP_MS / DAY_MS), steps))
    log_price = math.log(scenario.price_micros) + wander
    for shift in scenario.traffic:
        auctions = auctions * np.array([shift.at(int(t)) for t in elapsed])
    for shift in scenario.prices:
        log_price = log_price + np.log([shift.at(int(t)) for t in elapsed])
    return Conditions(auctions, log_price)


def buy(
    scenario: Scenario, auctions: float, log_price: float, bid_micros: int, share: float, rng: np.random.Generator
) -> Bought:
    """What a bid takes of one step's auctions when it enters `share` of them."""
    eligible = int(rng.poisson(auctions))
    place = (math.log(bid_micros) - log_price) / scenario.price_sigma
    chance = float(ndtr(place))
    wins = int(rng.binomial(eligible, min(max(share * chance, 0.0), 1.0)))
    if scenario.first_price:
        spend = round(wins * bid_micros / 1_000)
    else:
        prices = np.exp(log_price + scenario.price_sigma * ndtri(rng.uniform(0.0, chance, wins)))
        spend = int(np.ceil(prices / 1_000).sum())
    clicks = int(rng.binomial(wins, scenario.click_rate))
    conversions = int(rng.binomial(clicks, scenario.conversion_rate))
    delays = rng.exponential(scenario.conversion_delay_ms, conversions)
    revenues = np.rint(scenario.revenue_micros * rng.lognormal(-0.125, 0.5, conversions)).astype(np.int64)
    return Bought(spend, eligible, wins, clicks, delays, revenues)


class Offer(NamedTuple):
    """What one constant bid would spend and win over a span, in expectation."""

    spend_micros: float
    impressions: float


def expected_offer(scenario: Scenario, conditions: Conditions, span: slice, bid_micros: float) -> Offer:
    """Spend and impressions of a constant bid over the steps of `span` (log-normal prices in closed form)."""
    sigma = scenario.price_sigma
    mu, auctions = conditions.log_price[span], conditions.auctions[span]
    place = (math.log(bid_micros) - mu) / sigma
    impressions = auctions * ndtr(place)
    if scenario.first_price:
        spend = impressions * bid_micros / 1_000.0
    else:
        spend = auctions * np.exp(mu + sigma * sigma / 2.0) * ndtr(place - sigma) / 1_000.0
    return Offer(float(spend.sum()), float(impressions.sum()))
