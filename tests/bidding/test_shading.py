"""First-price shading: below worth, monotone, and near the best bid of a known market."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidding.shading import learn_outcome, new_curve, shaded_bid, win_rate


@given(worths=st.lists(st.floats(0.01, 1e6), min_size=2, max_size=8), centre=st.floats(-3.0, 10.0))
def test_a_shaded_bid_is_below_worth_and_rises_with_it(worths, centre):
    curve = new_curve(centre)
    bids = [shaded_bid(curve, worth) for worth in sorted(worths)]
    assert all(bid <= worth * (1.0 + 1e-9) for bid, worth in zip(bids, sorted(worths), strict=True))
    assert all(a <= b * (1.0 + 1e-3) for a, b in pairwise(bids))


def test_a_learned_curve_bids_within_a_tenth_of_the_best_surplus():
    rng = np.random.default_rng(1)
    curve = new_curve(np.log(50.0))
    prices = rng.lognormal(np.log(100.0), 0.6, 30_000)
    for price, bid in zip(prices, rng.lognormal(np.log(90.0), 0.5, 30_000), strict=True):
        learn_outcome(curve, bid, bid >= price)
    worth = 150.0
    grid = np.linspace(20.0, 150.0, 200)
    surplus = [(worth - b) * (prices <= b).mean() for b in grid]
    chosen = shaded_bid(curve, worth)
    assert (worth - chosen) * (prices <= chosen).mean() > 0.9 * max(surplus)
    assert win_rate(curve, 100.0) == pytest.approx(0.5, abs=0.05)
