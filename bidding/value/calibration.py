"""Calibration: predicted rates brought back to what is observed, online.

Platt's form on the log odds, `logit(p') = a + b * logit(p)`, learned one event at a time with a Gaussian posterior
(Platt 1999; extended Kalman form, as in bidding/shading.py). Two numbers cannot overfit, and they may drift.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled

_PRIOR_VARIANCE: Final = 0.25
# Some fifty thousand events count.
_KEPT: Final = 0.99998

CALIBRATION = np.dtype([("a", "f8"), ("b", "f8"), ("c00", "f8"), ("c01", "f8"), ("c11", "f8")], align=True)


def new_calibration() -> Any:
    """The identity, loosely held."""
    rows = np.zeros(1, CALIBRATION).view(np.recarray)
    state = rows[0]
    state.b, state.c00, state.c11 = 1.0, _PRIOR_VARIANCE, _PRIOR_VARIANCE / 4.0
    return state


@compiled
def calibrated(state: Any, predicted: float) -> float:
    """The calibrated rate; rises with the prediction."""
    p = min(max(predicted, 1e-9), 1.0 - 1e-9)
    return 1.0 / (1.0 + math.exp(-(state.a + max(state.b, 0.05) * math.log(p / (1.0 - p)))))


@compiled
def calibrate_one(state: Any, predicted: float, response: float) -> float:
    """The calibrated rate before learning, then learn from the response (0 or 1)."""
    p = min(max(predicted, 1e-9), 1.0 - 1e-9)
    x = math.log(p / (1.0 - p))
    q = calibrated(state, predicted)
    h = max(q * (1.0 - q), 1e-6)
    state.c00 = min(state.c00 / _KEPT, _PRIOR_VARIANCE)
    state.c11 = min(state.c11 / _KEPT, _PRIOR_VARIANCE / 4.0)
    g0, g1 = state.c00 + state.c01 * x, state.c01 + state.c11 * x
    denominator = 1.0 / h + g0 + g1 * x
    error = (response - q) / h
    state.a += g0 * error / denominator
    state.b += g1 * error / denominator
    state.c00 -= g0 * g0 / denominator
    state.c01 -= g0 * g1 / denominator
    state.c11 -= g1 * g1 / denominator
    return q


@compiled
def calibrate_batch(state: Any, predicted: NDArray[np.float64], responses: NDArray[np.float64]) -> NDArray[np.float64]:
    """`calibrate_one` for each row in order."""
    out = np.empty(len(predicted))
    for i in range(len(predicted)):
        out[i] = calibrate_one(state, predicted[i], responses[i])
    return out


def log_loss(predicted: NDArray[np.float64], responses: NDArray[np.float64]) -> float:
    """Mean of -log of the chance given to what happened, natural logarithm."""
    p = np.clip(predicted, 1e-12, 1.0 - 1e-12)
    return float(-(responses * np.log(p) + (1.0 - responses) * np.log(1.0 - p)).mean())


def calibration_error(predicted: NDArray[np.float64], responses: NDArray[np.float64], bins: int = 10) -> float:
    """Expected calibration error: mean distance of predicted and observed rates over bins of equal count, relative to
    the observed rate over all. 0 is perfect."""
    order = np.argsort(predicted, kind="stable")
    overall = float(responses.mean())
    if overall == 0.0:
        return 0.0
    parts = np.array_split(order, bins)
    gaps = [abs(float(predicted[rows].mean() - responses[rows].mean())) * len(rows) for rows in parts if len(rows)]
    return sum(gaps) / len(order) / overall
