"""The bid landscape of one campaign, learned from wins and losses at known bids.

An auction with value v and price p is won by the bid `v * exp(m)` exactly when m >= theta, theta = log(p / v). So all
that matters about the market is one curve: how much spend lies at each theta. Wins show their theta; a loss only says
that theta was above m (it is censored). The density of a bin is estimated from the auctions in which the bin was open,
that is, in which a theta in it would have been won and seen:

    density[i] = spend seen in bin i / auctions in which bin i was open

the ratio form of Kaplan and Meier's product-limit estimator (1958): exact under independent censoring, which holds here
because m is set before the auction is seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled

BINS = 1_200
# Two percent of bid a bin; all bins together span a factor of e^24.
BIN_WIDTH = 0.02
_HALF = BINS // 2
# Share by which the running density moves at each bin: it reaches back some ten bins, a fifth of a log unit.
_SMOOTHING = 0.1

# The record of one landscape; `anchor` is the log multiplier in its middle.
LANDSCAPE = np.dtype(
    [
        ("anchor", "f8"),
        ("spend", "f8", (BINS,)),
        ("opened", "f8", (BINS,)),
        ("part_opened", "f8", (BINS,)),
        ("exposure", "f8", (BINS,)),
    ],
    align=True,
)


def new_landscape(anchor: float = 0.0) -> Any:
    """An empty landscape: a NumPy record, which copies and pickles as plain bytes."""
    rows = np.zeros(1, LANDSCAPE).view(np.recarray)
    rows[0].anchor = anchor
    return rows[0]


@compiled
def bin_place(anchor: float, log_multiplier: float) -> float:
    """Place of a log multiplier on the bins' axis; whole part is the bin, the rest how far into it.

    >>> bin_place(0.0, 0.03)
    601.5
    """
    place = (log_multiplier - anchor) / BIN_WIDTH + _HALF
    return min(max(place, 0.0), BINS - 1.001)


@compiled
def observe_auction(land: Any, log_multiplier: float, won: bool, theta: float, spend: float) -> None:
    """Add one auction: the multiplier bid with and, if it was won, its theta and spend (any unit, one for all)."""
    place = bin_place(land.anchor, log_multiplier)
    i = int(place)
    land.part_opened[i] += place - i
    if i > 0:
        land.opened[i - 1] += 1.0
    if won:
        land.spend[int(bin_place(land.anchor, theta))] += spend


@compiled
def forget(land: Any, kept: float) -> None:
    """Weigh all that was seen down to the share `kept`, and bring `exposure` up to date."""
    opened = 0.0
    for i in range(BINS - 1, -1, -1):
        land.spend[i] *= kept
        land.opened[i] *= kept
        land.part_opened[i] *= kept
        opened += land.opened[i]
        land.exposure[i] = opened + land.part_opened[i]


@compiled
def _step_up(land: Any, i: int, running: float, prior_auctions: float) -> tuple[float, float]:
    """Density of bin i, shrunk towards the bins below it by `prior_auctions`, and the running density after it.

    A bin that was never open gets the running density: the curve is continued, not cut off.
    """
    exposure = land.exposure[i]
    density = (land.spend[i] + prior_auctions * running) / (exposure + prior_auctions)
    if exposure > 1.0:
        running += _SMOOTHING * (density - running)
    return density, running


@compiled
def spend_rate(land: Any, log_multiplier: float, prior_auctions: float) -> float:
    """Expected spend per auction at a multiplier; call `forget` first."""
    place = bin_place(land.anchor, log_multiplier)
    running = 0.0
    total = 0.0
    for i in range(int(place) + 1):
        density, running = _step_up(land, i, running, prior_auctions)
        total += density * min(1.0, place - i)
    return total


@compiled
def multipliers_for(land: Any, rates: NDArray[np.float64], prior_auctions: float, out: NDArray[np.float64]) -> None:
    """For each rate, in ascending order, the smallest log multiplier whose expected spend per auction reaches it.

    Rates beyond the curve get the top of the axis.
    """
    running = 0.0
    total = 0.0
    i = 0
    density = 0.0
    for k in range(len(rates)):
        while total < rates[k] and i < BINS:
            density, running = _step_up(land, i, running, prior_auctions)
            total += density
            i += 1
        # Inside bin i - 1: `total` is the curve at its upper edge.
        back = (total - max(rates[k], 0.0)) / density if density > 0.0 else 0.0
        out[k] = land.anchor + (i - _HALF - min(back, 1.0)) * BIN_WIDTH
        if math.isnan(out[k]):
            out[k] = land.anchor
