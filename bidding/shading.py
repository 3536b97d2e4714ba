"""First-price bids: how far below its worth to bid, from a learned win-rate curve.

The win rate at bid b is logistic in log b, `F(b) = 1 / (1 + exp(-(w0 + w1 * (log b - centre))))`, learned online from
wins and losses only (no prices needed). The bid maximises the expected surplus `(worth - b) F(b)`; its first-order
condition is `worth / b = 1 + 1 / (w1 * (1 - F(b)))`, whose left side falls and right side rises in b: one solution,
found by bisection. See Pan et al., "Bid Shading by Win-Rate Estimation and Surplus Maximization" (2020), and
Zhou et al., "An Efficient Deep Distribution Network for Bid Shading in First-Price Auctions", arXiv 2107.06650.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bidding.compiled import compiled

# Slope on log bid: below, the curve says nothing and shading would give everything away; above, it is a step.
SLOPE_MIN, SLOPE_MAX = 0.3, 20.0
# Prior: half of auctions won at the centre, slope 1.5, both loose.
_PRIOR_SLOPE = 1.5
_PRIOR_VARIANCE = 4.0
# The bid is found to within e^(6 / 2^16), a hundredth of a percent.
_BISECTIONS = 16

# Mean (w0, w1) and covariance of the curve's weights, the log bid it is centred on, and the share kept a step.
CURVE = np.dtype(
    [("centre", "f8"), ("w0", "f8"), ("w1", "f8"), ("c00", "f8"), ("c01", "f8"), ("c11", "f8"), ("kept", "f8")],
    align=True,
)


def new_curve(log_bid_centre: float, kept: float = 0.9998) -> Any:
    """A curve that knows nothing yet; `kept` is the weight of the past after each auction (0.9998: some 5,000)."""
    rows = np.zeros(1, CURVE).view(np.recarray)
    reset_curve(rows[0], log_bid_centre, kept)
    return rows[0]


@compiled
def reset_curve(curve: Any, log_bid_centre: float, kept: float) -> None:
    """Put the prior back."""
    curve.centre = log_bid_centre
    curve.w0 = 0.0
    curve.w1 = _PRIOR_SLOPE
    curve.c00 = _PRIOR_VARIANCE
    curve.c01 = 0.0
    curve.c11 = _PRIOR_VARIANCE / 4.0
    curve.kept = kept


@compiled
def win_rate(curve: Any, bid: float) -> float:
    """Probability that a bid wins, 0 to 1; rises with the bid."""
    slope = min(max(curve.w1, SLOPE_MIN), SLOPE_MAX)
    return 1.0 / (1.0 + math.exp(-(curve.w0 + slope * (math.log(max(bid, 1e-9)) - curve.centre))))


@compiled
def learn_outcome(curve: Any, bid: float, won: bool) -> None:
    """One auction's outcome: a step of online logistic regression with a Gaussian posterior (extended Kalman form)."""
    x = math.log(max(bid, 1e-9)) - curve.centre
    p = win_rate(curve, bid)
    h = max(p * (1.0 - p), 1e-4)
    # Forgetting widens the posterior, up to the prior's own width.
    curve.c00 = min(curve.c00 / curve.kept, _PRIOR_VARIANCE)
    curve.c11 = min(curve.c11 / curve.kept, _PRIOR_VARIANCE / 4.0)
    g0 = curve.c00 + curve.c01 * x
    g1 = curve.c01 + curve.c11 * x
    denominator = 1.0 / h + g0 + g1 * x
    error = ((1.0 if won else 0.0) - p) / h
    curve.w0 += g0 * error / denominator
    curve.w1 += g1 * error / denominator
    curve.w1 = min(max(curve.w1, SLOPE_MIN), SLOPE_MAX)
    curve.c00 -= g0 * g0 / denominator
    curve.c01 -= g0 * g1 / denominator
    curve.c11 -= g1 * g1 / denominator


@compiled
def shaded_bid(curve: Any, worth: float) -> float:
    """The bid that maximises (worth - bid) * win rate; below worth, rises with worth; same unit as worth.

    >>> curve = new_curve(log_bid_centre=0.0)
    >>> 0.3 < shaded_bid(curve, 1.0) < 0.7
    True
    """
    slope = min(max(curve.w1, SLOPE_MIN), SLOPE_MAX)
    low, high = math.log(max(worth, 1e-9)) - 6.0, math.log(max(worth, 1e-9))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        bid = math.exp(middle)
        if worth / bid > 1.0 + 1.0 / (slope * (1.0 - win_rate(curve, bid) + 1e-12)):
            low = middle
        else:
            high = middle
    return math.exp(low)
