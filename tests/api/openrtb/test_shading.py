"""First-price bids are shaded by what wins and losses taught."""

from __future__ import annotations

import numpy as np

from api.openrtb import shading
from api.openrtb.shading import OUTCOMES_MIN, LearnedShading

WORTH = 2_000_000


def taught(auctions: int, seed: int = 1) -> LearnedShading:
    """A market whose highest other bid is about half a unit; we bid around our worth."""
    learned, rng = LearnedShading(), np.random.default_rng(seed)
    for _ in range(auctions):
        bid = round(WORTH * float(rng.uniform(0.2, 1.0)))
        learned.learn("c", bid, bool(bid >= 500_000 * np.exp(0.2 * rng.standard_normal())))
    return learned


def test_the_full_worth_is_bid_until_enough_outcomes_are_known() -> None:
    assert taught(OUTCOMES_MIN - 1).shade(WORTH, "c") == WORTH


def test_where_others_bid_little_much_of_the_worth_is_kept() -> None:
    assert 500_000 < taught(3_000).shade(WORTH, "c") < 1_000_000


def test_bids_rise_with_worth_and_never_exceed_it() -> None:
    learned = taught(3_000)
    bids = [learned.shade(worth, "c") for worth in range(100_000, 4_000_000, 100_000)]
    assert bids == sorted(bids)
    assert all(bid <= worth for bid, worth in zip(bids, range(100_000, 4_000_000, 100_000), strict=True))


def test_campaigns_learn_apart() -> None:
    assert taught(3_000).shade(WORTH, "other") == WORTH


def test_the_number_of_curves_is_bounded() -> None:
    learned = LearnedShading()
    for number in range(shading.CURVES_MAX + 5):
        learned.learn(str(number), WORTH, True)
    assert len(learned._curves) == shading.CURVES_MAX
