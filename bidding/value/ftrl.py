"""Online click and conversion models: logistic regression on hashed features, FTRL-proximal.

Per coordinate, with gradient g: `z += g - (sqrt(n + g^2) - sqrt(n)) / alpha * w`, `n += g^2`, and
`w = 0 if |z| <= l1 else -(z - sign(z) l1) / ((beta + sqrt(n)) / alpha + l2)`; McMahan et al., "Ad Click Prediction: a
View from the Trenches" (KDD 2013), algorithm 1. Features are 32-bit hashes of fields' texts; each column
has its own salt, so equal values of two fields do not meet but by chance.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled

# 2^18 weights: 4 MiB a model, collisions below a percent for some thousand distinct values.
BITS: Final = 18
_SIZE: Final = 1 << BITS
_MASK: Final = _SIZE - 1
# Ten thousand events at the start are learned quickly, millions settle: the paper's alpha for sparse data.
_ALPHA: Final = 0.05
_BETA: Final = 1.0
_L1: Final = 0.2
_L2: Final = 1.0
_LOG_ODDS_MAX: Final = 20.0

MODEL = np.dtype([("z", "f8", (_SIZE,)), ("n", "f8", (_SIZE,)), ("events", "i8"), ("bias", "f8")], align=True)


def new_model(prior_rate: float = 0.01) -> Any:
    """A model that predicts `prior_rate` until it learns otherwise; a NumPy record."""
    if not 0.0 < prior_rate < 1.0:
        raise ValueError("prior_rate lies between 0 and 1")
    rows = np.zeros(1, MODEL).view(np.recarray)
    rows[0].bias = math.log(prior_rate / (1.0 - prior_rate))
    return rows[0]


@compiled
def _slot(feature: int, column: int) -> int:
    """Where a feature's weight lies: a multiplicative hash of feature and column; slot 0 is the intercept's."""
    mixed = (np.uint64(feature) ^ (np.uint64(column + 1) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(
        0xBF58476D1CE4E5B9
    )
    return int((mixed >> np.uint64(40)) & np.uint64(_MASK)) | 1


@compiled
def _weight(z: float, n: float) -> float:
    if abs(z) <= _L1:
        return 0.0
    return -(z - math.copysign(_L1, z)) / ((_BETA + math.sqrt(n)) / _ALPHA + _L2)


@compiled
def predict_one(model: Any, features: NDArray[np.uint32]) -> float:
    """Chance of a response to one event; `features` has one hash a column, 0 for absent; shape (columns,)."""
    total = model.bias + _weight(model.z[0], model.n[0])
    for column in range(len(features)):
        if features[column] != 0:
            slot = _slot(features[column], column)
            total += _weight(model.z[slot], model.n[slot])
    return 1.0 / (1.0 + math.exp(-min(max(total, -_LOG_ODDS_MAX), _LOG_ODDS_MAX)))


@compiled
def _learn_slot(model: Any, slot: int, gradient: float) -> None:
    n = model.n[slot]
    sigma = (math.sqrt(n + gradient * gradient) - math.sqrt(n)) / _ALPHA
    model.z[slot] += gradient - sigma * _weight(model.z[slot], n)
    model.n[slot] = n + gradient * gradient


@compiled
def learn_one(model: Any, features: NDArray[np.uint32], response: float, weight: float) -> float:
    """Predict, then learn; the prediction made before. `response` is 0 or 1, `weight` the event's importance."""
    predicted = predict_one(model, features)
    gradient = weight * (predicted - response)
    _learn_slot(model, 0, gradient)
    for column in range(len(features)):
        if features[column] != 0:
            _learn_slot(model, _slot(features[column], column), gradient)
    model.events += 1
    return predicted


@compiled
def learn_batch(
    model: Any, features: NDArray[np.uint32], responses: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`learn_one` for each row in order; the predictions made before learning, shape (rows,)."""
    predicted = np.empty(len(responses))
    for i in range(len(responses)):
        predicted[i] = learn_one(model, features[i], responses[i], weights[i])
    return predicted


def delayed_weights(arrived_share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights for clicks without a conversion so far: the chance that none is still to come counts, no more.

    A click of an age by which a share F of conversions has arrived is a failure only as far as F says. With small
    rates, weighing a negative by F gives the gradient of the right model in expectation (importance weighting; Ktena
    et al., "Addressing Delayed Feedback for Continuous Training", RecSys 2019).
    """
    return np.clip(arrived_share, 0.0, 1.0)
