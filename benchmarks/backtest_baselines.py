"""The strategies that `max_clicks` is held against: a fixed bid, linear bidding, and a PID pacer.

Fixed and linear bids have one number, tuned on the other files of the same run (never on the file itself) and given
as a multiple of the even price, budget / auctions, so that it carries over between campaigns. The PID pacer is the
feedback control of Zhang et al., "Feedback Control of Real-Time Display Advertising" (WSDM 2016), on spend.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled

# Candidates for the tuned number: a factor of 1.15 apart from 0.5 to some 700 times the even price.
GRID: Final = tuple(0.5 * 1.15**k for k in range(53))
# Gains on the spend-share error in points, set once for all files; steps of a five-hundredth of the file.
PID_GAINS: Final = (0.15, 0.02, 0.05)
PID_STEPS: Final = 500


@compiled
def run_constant(
    price_micros: NDArray[np.int64],
    value: NDArray[np.float64],
    budget_micros: int,
    per_value: float,
    flat_bid: float,
    first_price: bool,
    won: NDArray[np.bool_],
    spent_after: NDArray[np.int64],
) -> None:
    """Bid `flat_bid + per_value * value` (CPM micros) until the money is gone; fills `won`, `spent_after`."""
    spent = 0
    for i in range(len(value)):
        bid = min(int(flat_bid + per_value * value[i]), (budget_micros - spent) * 1_000)
        won[i] = bid > 0 and bid >= price_micros[i]
        if won[i]:
            spent += ((bid if first_price else price_micros[i]) + 999) // 1_000
        spent_after[i] = spent


@compiled
def run_pid(
    price_micros: NDArray[np.int64],
    value: NDArray[np.float64],
    budget_micros: int,
    gains: tuple[float, float, float],
    first_price: bool,
    won: NDArray[np.bool_],
    spent_after: NDArray[np.int64],
) -> None:
    """Linear bids whose scale follows a PID controller on (auction share - spend share); fills `won`, `spent_after`."""
    n = len(value)
    step = max(n // PID_STEPS, 1)
    spent = 0
    # Starts at the even price for the first value met, as it knows nothing else.
    log_scale = math.log(1_000.0 * budget_micros / n) - math.log(max(value[0], 1e-12))
    integral, before = 0.0, 0.0
    offset = 0.0
    for i in range(n):
        bid = min(int(value[i] * math.exp(min(log_scale + offset, 60.0))), (budget_micros - spent) * 1_000)
        won[i] = bid > 0 and bid >= price_micros[i]
        if won[i]:
            spent += ((bid if first_price else price_micros[i]) + 999) // 1_000
        spent_after[i] = spent
        if (i + 1) % step == 0:
            error = 100.0 * ((i + 1) / n - spent / budget_micros)
            integral += error
            offset = gains[0] * error + gains[1] * integral + gains[2] * (error - before)
            before = error
