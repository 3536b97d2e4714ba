"""The per-auction bidder: never over budget, monotone, deterministic, blind to what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidding.auction_pacer import WARM_UP, PaceRules, bid_for, new_pacer, replan, run_auctions, settle
from bidding.landscape import forget, multipliers_for, new_landscape, observe_auction, spend_rate


def _market(seed: int, auctions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    price = np.rint(rng.lognormal(0.0, 0.8, auctions) * 600_000).astype(np.int64)
    return price, rng.lognormal(-8.0, 1.0, auctions)


def _run(price, value, budget, *, forecast=None, first_price=False):
    state = new_pacer(budget, forecast or len(value), first_price=first_price)
    won, spent = np.zeros(len(value), np.bool_), np.zeros(len(value), np.int64)
    run_auctions(state, PaceRules(), price, value, won, spent)
    return state, won, spent


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    budget=st.integers(1, 3_000_000),
    forecast=st.integers(1, 20_000),
    first_price=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_no_market_no_forecast_and_no_scale_of_values_makes_it_spend_more_than_the_budget(
    seed, budget, forecast, first_price, scale
):
    price, value = _market(seed, 3_000)
    state, _, spent = _run(price, value * scale, budget, forecast=forecast, first_price=first_price)
    assert state.spent_micros <= budget
    assert (np.diff(spent) >= 0).all()


def test_equal_auctions_give_equal_state_to_the_byte():
    price, value = _market(1, 5_000)
    first, second = (_run(price, value, 400_000)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_price_of_a_lost_auction_changes_nothing():
    price, value = _market(2, 5_000)
    state, won, _ = _run(price, value, 300_000)
    dearer = np.where(won, price, price * 7 + 1)
    assert _run(dearer, value, 300_000)[0].tobytes() == state.tobytes()


@pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
def test_bids_rise_with_value(first_price):
    price, value = _market(3, 3_000)
    state, _, _ = _run(price, value, 300_000, first_price=first_price, forecast=6_000)
    bids = [bid_for(v, state) for v in np.geomspace(1e-7, 1.0, 60)]
    assert bids == sorted(bids)
    assert bids[0] < bids[-1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000), more=st.floats(1.01, 4.0))
def test_bids_rise_with_the_budget(seed, more):
    price, value = _market(seed, 2_000)
    state, _, _ = _run(price, value, 200_000, forecast=6_000)
    richer = state.copy().view(np.recarray) if isinstance(state, np.ndarray) else _copied(state)
    richer.budget_micros = int(richer.budget_micros * more)
    for one in (state, richer):
        replan(one, PaceRules())
    assert all(bid_for(v, richer) >= bid_for(v, state) for v in (1e-5, 1e-4, 1e-3))


def _copied(record):
    rows = np.zeros(1, record.dtype).view(np.recarray)
    rows[0] = record
    return rows[0]


def test_the_first_bids_cannot_overspend_whatever_the_values_are():
    state = new_pacer(1_000_000, 1_000)
    for value in [1e6] * WARM_UP:
        bid = bid_for(value, state)
        assert bid == 1_000_000
        settle(state, PaceRules(), value, bid, True, bid)
    assert state.spent_micros == WARM_UP * 1_000


def test_a_bid_never_exceeds_its_cap():
    price, value = _market(4, 2_000)
    state = new_pacer(10_000_000, 2_000, bid_cap_micros=700_000)
    won, spent = np.zeros(2_000, np.bool_), np.zeros(2_000, np.int64)
    run_auctions(state, PaceRules(), price, value, won, spent)
    assert price[won].max() <= 700_000


def test_a_budget_or_forecast_of_nothing_is_refused():
    with pytest.raises(ValueError, match="positive"):
        new_pacer(0, 10)


def test_the_landscape_recovers_the_spend_curve_from_censored_outcomes():
    rng = np.random.default_rng(5)
    land = new_landscape()
    thetas, multipliers = rng.normal(0.0, 1.0, 40_000), rng.uniform(-1.0, 1.0, 40_000)
    for theta, multiplier in zip(thetas, multipliers, strict=True):
        won = multiplier >= theta
        observe_auction(land, multiplier, won, theta if won else 0.0, 10.0)
    forget(land, 1.0)
    for multiplier in (-0.8, 0.0, 0.8):
        assert spend_rate(land, multiplier, 1.0) == pytest.approx(10.0 * (thetas <= multiplier).mean(), rel=0.05)


def test_solving_for_a_rate_gives_back_its_multiplier():
    rng = np.random.default_rng(6)
    land = new_landscape()
    for theta in rng.normal(0.0, 0.5, 5_000):
        observe_auction(land, 2.0, theta <= 2.0, theta, 1.0)
    forget(land, 1.0)
    out = np.empty(3)
    rates = np.array([spend_rate(land, m, 5.0) for m in (-0.5, 0.0, 0.5)])
    multipliers_for(land, rates, 5.0, out)
    assert out == pytest.approx([-0.5, 0.0, 0.5], abs=1e-9)
