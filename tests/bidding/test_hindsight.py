"""What hindsight buys, and the bound on even spend."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.backtest import budget_of, read_auctions
from bidding.hindsight import best_purchase, even_bound
from tests.support.needs import shared_data

PUBLISHED = {
    "1458": 36.3,
    "2259": 4.9,
    "2261": 7.7,
    "2821": 14.8,
    "2997": 164.0,
    "3358": 43.3,
    "3386": 24.6,
    "3427": 45.9,
    "3476": 23.1,
}


@pytest.mark.parametrize("campaign", PUBLISHED, ids=lambda c: f"campaign {c} at 1/32")
def test_hindsight_buys_what_was_published(campaign):
    auctions = read_auctions(shared_data(f"ipinyou/auctions/{campaign}.txt.gz"))
    best = best_purchase(auctions.cost_micros, auctions.value, budget_of(auctions, 1 / 32))
    assert best.value == pytest.approx(PUBLISHED[campaign], abs=0.06)


def test_nothing_is_bought_with_less_than_the_cheapest_costs():
    assert best_purchase(np.array([5, 7]), np.array([1.0, 1.0]), 4).value == 0.0


def test_the_even_bound_holds_for_a_purchase_that_is_even():
    rng = np.random.default_rng(1)
    cost, value = rng.integers(1, 100, 4_000), rng.random(4_000)
    value[2_000:] *= 5.0
    budget = int(cost.sum() // 10)
    quarters = zip(np.split(cost, 4), np.split(value, 4), strict=True)
    even = sum(best_purchase(c, v, budget // 4).value for c, v in quarters)
    bound = even_bound(cost, value, budget, slack=0.25 + 1e-9, blocks=4)
    assert even <= bound <= best_purchase(cost, value, budget).value * 1.02


def test_a_tighter_band_bounds_lower():
    rng = np.random.default_rng(2)
    cost, value = rng.integers(1, 100, 4_000), rng.random(4_000)
    value[2_000:] *= 5.0
    bounds = [even_bound(cost, value, int(cost.sum() // 10), slack) for slack in (0.02, 0.1, 0.3)]
    assert bounds == sorted(bounds)
    assert bounds[0] < 0.95 * bounds[-1]
