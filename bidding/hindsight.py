"""What perfect knowledge of a recorded market buys with the same budget: the bar that strategies are held against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled


class Optimum(NamedTuple):
    """Value and spend of the best purchase, and the least value per micro that it takes."""

    value: float
    spend_micros: int
    value_per_micro: float


def best_purchase(cost_micros: NDArray[np.int64], value: NDArray[np.float64], budget_micros: int) -> Optimum:
    """Whole auctions, highest value per cost first, until the next one does not fit (Dantzig's greedy rule).

    It lies within one auction's value of the true optimum of the knapsack. Free auctions come first.

    >>> best_purchase(np.array([2, 1, 4]), np.array([1.0, 1.0, 1.0]), budget_micros=5).value
    2.0
    """
    if len(value) == 0:
        return Optimum(0.0, 0, 0.0)
    ratio = value / np.maximum(cost_micros, 1e-9)
    order = np.argsort(-ratio, kind="stable")
    spend = np.cumsum(cost_micros[order])
    bought = int(np.searchsorted(spend, budget_micros, side="right"))
    if bought == 0:
        return Optimum(0.0, 0, float(ratio[order[0]]))
    return Optimum(float(value[order[:bought]].sum()), int(spend[bought - 1]), float(ratio[order[bought - 1]]))


@compiled
def _dual(
    cost_micros: NDArray[np.int64], value: NDArray[np.float64], block: NDArray[np.int64], price: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Surplus of all auctions worth their cost at their block's price of money, and the spend on them up to the end of
    each block."""
    surplus = 0.0
    spend = np.zeros(len(price))
    for i in range(len(value)):
        gain = value[i] - price[block[i]] * cost_micros[i]
        if gain > 0.0:
            surplus += gain
            spend[block[i]] += cost_micros[i]
    return surplus, np.cumsum(spend)


def even_bound(
    cost_micros: NDArray[np.int64],
    value: NDArray[np.float64],
    budget_micros: int,
    slack: float,
    blocks: int = 200,
    rounds: int = 400,
) -> float:
    """An upper bound on the value that any purchase can reach whose spend share stays within `slack` of the auction
    share at the end of each of `blocks` equal blocks of auctions.

    Lagrange's dual of that linear programme, `sum max(0, value - price_of_money * cost) + ...`, lowered by projected
    subgradient steps on the multipliers of the block ends. Every point of the dual is a bound, so the result is valid
    however far the descent came.
    """
    n = len(value)
    block = np.minimum(np.arange(n) * blocks // n, blocks - 1)
    share = (np.bincount(block, minlength=blocks).cumsum()) / n
    most = budget_micros * np.minimum(share + slack, 1.0)
    least = budget_micros * np.maximum(share - slack, 0.0)
    scale = best_purchase(cost_micros, value, budget_micros).value_per_micro
    # y > 0 holds spend under `most`, y < 0 over `least`; the price of money in a block is the sum of y from there on.
    y = np.zeros(blocks)
    y[-1] = scale
    best = np.inf
    for k in range(rounds):
        surplus, spend = _dual(cost_micros, value, block, np.cumsum(y[::-1])[::-1])
        best = min(best, surplus + float((np.where(y > 0.0, most, least) * y).sum()))
        gradient = np.where(y > 0.0, most - spend, least - spend)
        at_rest = (y == 0.0) & (spend <= most) & (spend >= least)
        gradient = np.where((y == 0.0) & (spend > most), most - spend, gradient)
        gradient[at_rest] = 0.0
        length = float(np.sqrt((gradient**2).sum()))
        if length == 0.0:
            break
        moved = y - 0.3 * scale / np.sqrt(1.0 + k) * gradient / length
        # A step may reach zero but not cross it: the slope changes there.
        y = np.where(moved * y < 0.0, 0.0, moved)
        y[-1] = max(y[-1], 0.0)
    return best
