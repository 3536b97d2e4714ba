"""Per-auction bidding under a budget: what an OpenRTB bidder calls, and what the backtest runs.

The bid is value times one multiplier, `bid = value * exp(log_multiplier)`: in second price the form that hindsight's
best buys by (take what has the highest value per price). All skill lies in the multiplier. Every few auctions it is
solved anew so that what is left of the budget meets what is left of the traffic on the learned landscape
(bidding/landscape.py), inside a band around even delivery:

    rate_plan = budget left / auctions left
    rate_low  = even * (1 - (band + gap) / horizon)      gap = spend share - traffic share
    rate_high = even * (1 + (band - gap) / horizon)

`rate_plan` is met on the long-run landscape, so that the multiplier stays nearly constant, as the optimum has it. The
two others are met on the recent market: continued over `horizon` they end on the edge of the band, so delivery stays
within it. In first price the worth is shaded by the learned win-rate curve and spend follows from the model.

Money here is integer micros; a bid is micros per thousand impressions, an impression bought at CPM price p costs
p / 1000 rounded up. No sequence of auctions spends more than the budget: a bid never exceeds what is left.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled
from bidding.landscape import LANDSCAPE, forget, multipliers_for, observe_auction, spend_rate
from bidding.shading import CURVE, learn_outcome, reset_curve, shaded_bid, win_rate

# Bids of the first auctions are flat at the even price, which cannot overspend whatever the values are.
WARM_UP = 10
# Share of the way to a newly solved multiplier that a first-price bidder goes.
FIRST_PRICE_GAIN = 0.3
# Values kept to say what a first-price bidder would spend.
RECENT_VALUES = 64


class PaceRules(NamedTuple):
    """How the multiplier is steered; shares are of the whole delivery. The defaults hold for every campaign."""

    # Memory of the landscape, and of the comparison with the recent market.
    memory: float = 0.1
    recent: float = 0.01
    # Half width of the band around even delivery that is steered for.
    band: float = 0.035
    # Share of traffic within which a departure is brought back to the edge of the band.
    horizon: float = 0.02
    # Auctions that the continued curve weighs in each bin.
    prior_auctions: float = 50.0
    # Most that the log multiplier moves in one step.
    step_max: float = 0.25
    # How much of a recent departure is expected to last to the end.
    persistence: float = 0.5
    # Recent auctions that "as expected" weighs, as a share of `recent`.
    calm: float = 0.3
    # Auctions a step: early on, and then.
    step_early: int = 10
    step: int = 50
    early_auctions: int = 1_000


# First price: the model of spend errs more than a landscape of wins does, so it is corrected harder and the band is
# narrower.
FIRST_PRICE_RULES = PaceRules(recent=0.02, calm=0.1, band=0.015)

PACER = np.dtype(
    [
        ("budget_micros", "i8"),
        ("spent_micros", "i8"),
        ("bid_cap_micros", "i8"),
        ("auctions_forecast", "f8"),
        ("auctions", "i8"),
        ("wins", "i8"),
        ("value_won", "f8"),
        ("first_price", "i8"),
        ("log_multiplier", "f8"),
        ("log_value_sum", "f8"),
        ("step_auctions", "i8"),
        ("step_spend", "f8"),
        ("step_expected", "f8"),
        ("recent_spend", "f8"),
        ("recent_expected", "f8"),
        ("expected_rate", "f8"),
        ("highest_lost", "f8"),
        ("land", LANDSCAPE),
        ("curve", CURVE),
        ("values", "f8", (RECENT_VALUES,)),
    ],
    align=True,
)


def new_pacer(
    budget_micros: int, auctions_forecast: float, *, first_price: bool = False, bid_cap_micros: int = 0
) -> Any:
    """The state of a campaign's delivery: a NumPy record (copies and pickles as plain bytes).

    `auctions_forecast` is how many auctions are expected until the budget ends. `bid_cap_micros` 0 means none.
    """
    if budget_micros <= 0 or auctions_forecast <= 0:
        raise ValueError("budget_micros and auctions_forecast must be positive")
    rows = np.zeros(1, PACER).view(np.recarray)
    state = rows[0]
    state.budget_micros, state.auctions_forecast = budget_micros, auctions_forecast
    state.first_price, state.bid_cap_micros = int(first_price), bid_cap_micros
    return state


@compiled
def bid_for(value: float, state: Any) -> int:
    """The bid in CPM micros for an impression of this value (expected clicks, conversions or revenue; any unit, one
    for all). Rises with the value; never more than the budget left; 0 is no bid."""
    left = (state.budget_micros - state.spent_micros) * 1_000
    if state.auctions < WARM_UP:
        worth = 1_000.0 * state.budget_micros / state.auctions_forecast
    else:
        worth = max(value, 0.0) * math.exp(state.log_multiplier)
    worth = min(worth, 1e15)
    if state.first_price and worth > 0.0:
        worth = shaded_bid(state.curve, worth)
        if state.highest_lost > 0.0:
            # What is far beyond every price met is paid in full and buys nothing more.
            worth = min(worth, 2.0 * state.highest_lost)
    bid = int(worth)
    if state.bid_cap_micros > 0:
        bid = min(bid, state.bid_cap_micros)
    return int(max(min(bid, left), 0))


@compiled
def settle(state: Any, rules: PaceRules, value: float, bid_micros: int, won: bool, price_micros: int) -> None:
    """Book an auction's outcome: `price_micros` is the CPM price paid, read only when won. Replans when it is time."""
    cost = 0
    if won:
        cost = (price_micros + 999) // 1_000
        state.spent_micros += cost
        state.wins += 1
        state.value_won += value
    state.auctions += 1
    state.values[state.auctions % RECENT_VALUES] = value
    if state.auctions <= WARM_UP:
        _warm_up(state, value)
        return
    if state.first_price:
        state.step_expected += state.expected_rate
        learn_outcome(state.curve, bid_micros, won)
        if not won:
            state.highest_lost = max(state.highest_lost, float(bid_micros))
    elif value > 0.0:
        theta = math.log(max(price_micros, 1) / value) if won else 0.0
        observe_auction(state.land, state.log_multiplier, won, theta, float(cost))
        state.step_expected += state.expected_rate
    state.step_auctions += 1
    state.step_spend += cost
    if state.step_auctions >= (rules.step_early if state.auctions < rules.early_auctions else rules.step):
        replan(state, rules)


@compiled
def _warm_up(state: Any, value: float) -> None:
    """Learn the scale of values; start where the average value bids the even price."""
    state.log_value_sum += math.log(max(value, 1e-12))
    if state.auctions == WARM_UP:
        log_even = math.log(1_000.0 * state.budget_micros / state.auctions_forecast)
        state.log_multiplier = log_even - state.log_value_sum / WARM_UP
        state.land.anchor = state.log_multiplier
        # First price starts from the same place; a win rate of one half is sought some e^2 above it.
        reset_curve(state.curve, log_even + 2.0, 0.9998)


@compiled
def replan(state: Any, rules: PaceRules) -> None:
    """Solve the multiplier anew from what is left of budget and traffic, what was learned, and the band."""
    forecast = state.auctions_forecast
    forget(state.land, math.exp(-state.step_auctions / (rules.memory * forecast)))
    kept = math.exp(-state.step_auctions / (rules.recent * forecast))
    state.recent_spend = state.recent_spend * kept + state.step_spend
    state.recent_expected = state.recent_expected * kept + state.step_expected
    even = state.budget_micros / forecast
    calm = rules.calm * even * rules.recent * forecast
    recent = min(max((state.recent_spend + calm) / (state.recent_expected + calm), 0.2), 5.0)
    # Past the forecast the rest is offered to a last thousandth, again and again.
    auctions_left = max(forecast - state.auctions, 0.001 * forecast, 1.0)
    plan = max(state.budget_micros - state.spent_micros, 0) / auctions_left
    gap = state.spent_micros / state.budget_micros - min(state.auctions / forecast, 1.0)
    low = even * (1.0 - (rules.band + gap) / rules.horizon)
    high = max(even * (1.0 + (rules.band - gap) / rules.horizon), 0.02 * even)
    if state.first_price:
        solved = _first_price_multiplier(state, min(max(plan, low), high) / recent)
        # Few values carry most of the spend: a solution on the last 64 of them is noisy, so it is followed in part.
        solved = state.log_multiplier + FIRST_PRICE_GAIN * (solved - state.log_multiplier)
    else:
        solved = _second_price_multiplier(state, rules, plan, low, high, recent)
    change = min(max(solved - state.log_multiplier, -rules.step_max), rules.step_max)
    state.log_multiplier += change
    if state.first_price:
        state.expected_rate = _first_price_rate(state, state.log_multiplier)
    else:
        state.expected_rate = spend_rate(state.land, state.log_multiplier, rules.prior_auctions)
    state.step_auctions, state.step_spend, state.step_expected = 0, 0.0, 0.0


@compiled
def _second_price_multiplier(
    state: Any, rules: PaceRules, plan: float, low: float, high: float, recent: float
) -> float:
    """The log multiplier that meets the plan on the long-run landscape, held inside the band on the recent market."""
    rate, solved = np.empty(1), np.empty(1)
    bounds = np.empty(3)
    for k in range(3):
        rate[0] = plan / recent**rules.persistence if k == 0 else (low if k == 1 else high) / recent
        multipliers_for(state.land, rate, rules.prior_auctions, solved)
        bounds[k] = solved[0]
    if low <= 0.0:
        return float(min(bounds[0], bounds[2]))
    return float(min(max(bounds[0], bounds[1]), bounds[2]))


@compiled
def _first_price_rate(state: Any, log_multiplier: float) -> float:
    """Spend per auction that recent values, shaded, are expected to bring."""
    known = min(state.auctions, RECENT_VALUES)
    spend = 0.0
    for i in range(known):
        bid = shaded_bid(state.curve, max(state.values[i], 0.0) * math.exp(log_multiplier))
        spend += win_rate(state.curve, bid) * bid / 1_000.0
    return float(spend / known)


@compiled
def _first_price_multiplier(state: Any, rate: float) -> float:
    """The log multiplier at which recent values, shaded, are expected to spend `rate` per auction."""
    low, high = state.log_multiplier - 0.5, state.log_multiplier + 0.5
    for _ in range(6):
        middle = 0.5 * (low + high)
        if _first_price_rate(state, middle) < rate:
            low = middle
        else:
            high = middle
    return float(0.5 * (low + high))


@compiled
def run_auctions(
    state: Any,
    rules: PaceRules,
    price_micros: NDArray[np.int64],
    value: NDArray[np.float64],
    won: NDArray[np.bool_],
    spent_after: NDArray[np.int64],
) -> None:
    """Bid through recorded auctions in order; the market decides, the state sees only its own outcomes.

    `price_micros` is the highest other bid (CPM): a bid of at least that wins and pays it, or itself in first price.
    `won[i]` and `spent_after[i]` get the outcome of auction i and the spend after it.
    """
    for i in range(len(value)):
        bid = bid_for(value[i], state)
        won[i] = bid >= price_micros[i] and bid > 0
        paid = 0
        if won[i]:
            paid = bid if state.first_price else price_micros[i]
        settle(state, rules, value[i], bid, won[i], paid)
        spent_after[i] = state.spent_micros
