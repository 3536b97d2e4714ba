"""Conversions that come late: counted as not yet seen, never as failures.

Clicks are kept in cohorts by age. In each band of age the conversions that arrived at that age, over the clicks that
passed through it, estimate the rate at which a click converts then; their sum over all ages is the conversion rate,
whatever the mixture of young and old clicks is (the actuarial estimator for right-truncated delays; compare Chapelle,
"Modeling Delayed Feedback in Display Advertising", KDD 2014). Bands that no click has reached yet are filled in from a
prior: exponential delays with a given mean.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bidding.compiled import compiled

_Floats = NDArray[np.float64]

# Upper edges of the age bands: 1 minute, then a factor of 2^(1/4) each up to some 11 days; what comes later counts in
# the last. Arrivals are taken as even within a band; wider bands would overstate what is pending.
_PER_OCTAVE: Final = 4
BANDS: Final = 14 * _PER_OCTAVE + 1
_FIRST_EDGE_MS: Final = 60_000
# Cohorts at most this many: beyond, those of like age are merged, so that age is known to an eighth.
_COHORTS_MAX: Final = 96
_MERGE_SHARE: Final = 0.12
# The upper edge of the last band.
_OLDEST_MS: Final = _FIRST_EDGE_MS * 2**14
# Clicks that the prior's shape weighs in each band.
_PRIOR_CLICKS: Final = 10.0
# Bands forget once they hold this many clicks, to follow a conversion rate that changes.
_CLICKS_KEPT: Final = 20_000.0


class Delays(msgspec.Struct):
    """Arrivals and exposed clicks by age band; moments and clicks of the cohorts that are still growing older."""

    prior_mean_ms: float = 3_600_000.0
    arrivals: list[float] = msgspec.field(default_factory=lambda: [0.0] * BANDS)
    exposed: list[float] = msgspec.field(default_factory=lambda: [0.0] * BANDS)
    cohort_ms: list[float] = []
    cohort_clicks: list[float] = []
    seen_ms: int = 0

    def copy(self) -> Delays:
        return Delays(
            self.prior_mean_ms,
            list(self.arrivals),
            list(self.exposed),
            list(self.cohort_ms),
            list(self.cohort_clicks),
            self.seen_ms,
        )


@compiled
def band_of(age_ms: float) -> int:
    """The band of an age.

    >>> band_of(0.0), band_of(90_000.0), band_of(1e12)
    (0, 3, 56)
    """
    if age_ms < _FIRST_EDGE_MS:
        return 0
    return min(int(math.log2(age_ms / _FIRST_EDGE_MS) * _PER_OCTAVE) + 1, BANDS - 1)


@compiled
def _passed(age_ms: float, band: int) -> float:
    """Share of a band's width that lies behind a click of this age."""
    low = 0.0 if band == 0 else _FIRST_EDGE_MS * 2.0 ** ((band - 1) / _PER_OCTAVE)
    high = _FIRST_EDGE_MS * 2.0 ** (band / _PER_OCTAVE)
    return float(min(max((age_ms - low) / (high - low), 0.0), 1.0))


@compiled
def _exposure(at_ms: _Floats, clicks: _Floats, from_ms: float, until_ms: float) -> _Floats:
    """Clicks that pass through each band between two moments, parts of a band counting in part; shape (BANDS,)."""
    exposed = np.zeros(BANDS)
    for k in range(len(at_ms)):
        old, age = max(from_ms - at_ms[k], 0.0), until_ms - at_ms[k]
        if age <= old:
            continue
        for band in range(band_of(old), band_of(age) + 1):
            exposed[band] += clicks[k] * (_passed(age, band) - _passed(old, band))
    return exposed


@compiled
def _merge(at_ms: _Floats, clicks: _Floats, now_ms: float) -> int:
    """Merge neighbours close in time for their age, in place; how many remain."""
    kept = 0
    for k in range(1, len(at_ms)):
        if at_ms[k] - at_ms[kept] < _MERGE_SHARE * (now_ms - at_ms[kept] + _FIRST_EDGE_MS):
            both = clicks[kept] + clicks[k]
            at_ms[kept] = (at_ms[kept] * clicks[kept] + at_ms[k] * clicks[k]) / both
            clicks[kept] = both
        else:
            kept += 1
            at_ms[kept], clicks[kept] = at_ms[k], clicks[k]
    return kept + 1


@lru_cache(maxsize=64)
def _prior_shares(mean_ms: float) -> _Floats:
    """Share of exponential delays in each band; shape (BANDS,)."""
    high = _FIRST_EDGE_MS * 2.0 ** (np.arange(BANDS) / _PER_OCTAVE)
    below = 1.0 - np.exp(-high / mean_ms)
    below[-1] = 1.0
    return np.diff(below, prepend=0.0)


def _cohorts(delays: Delays) -> tuple[_Floats, _Floats]:
    return np.array(delays.cohort_ms), np.array(delays.cohort_clicks)


def observe_clicks(delays: Delays, now_ms: int, clicks: int, *, believed: bool = True) -> Delays:
    """Let all cohorts grow older until `now_ms`, then add the new clicks at age 0.

    With `believed` False (tracking is in doubt) time goes on but nothing is learned from conversions that did not come.
    """
    after = delays.copy()
    at_ms, cohort_clicks = _cohorts(after)
    exposed = np.array(after.exposed)
    if believed:
        exposed += _exposure(at_ms, cohort_clicks, float(after.seen_ms), float(now_ms))
    # What forgets is the pair, so the rate of a band stays.
    kept = np.minimum(1.0, _CLICKS_KEPT / np.maximum(exposed, 1.0))
    after.exposed = (exposed * kept).tolist()
    after.arrivals = (np.array(after.arrivals) * kept).tolist()
    if clicks:
        after.cohort_ms.append(float(now_ms))
        after.cohort_clicks.append(float(clicks))
    if len(after.cohort_ms) > _COHORTS_MAX:
        at_ms, cohort_clicks = _cohorts(after)
        left = _merge(at_ms, cohort_clicks, float(now_ms))
        # The oldest go when ages are too many even so; past the last band nothing is expected of them.
        first = max(left - _COHORTS_MAX // 2, int(np.searchsorted(at_ms[:left], now_ms - _OLDEST_MS)))
        after.cohort_ms, after.cohort_clicks = at_ms[first:left].tolist(), cohort_clicks[first:left].tolist()
    after.seen_ms = now_ms
    return after


def observe_conversions(delays: Delays, conversions: int, delays_ms: tuple[int, ...]) -> Delays:
    """Add conversions: with their delays where known, the others where the clicks out there let them be expected."""
    if conversions == 0 and not delays_ms:
        return delays
    after = delays.copy()
    for delay_ms in delays_ms:
        after.arrivals[band_of(float(delay_ms))] += 1.0
    unknown = max(conversions - len(delays_ms), 0)
    if unknown:
        at_ms, clicks = _cohorts(after)
        near = _exposure(at_ms, clicks, after.seen_ms - _FIRST_EDGE_MS, float(after.seen_ms))
        likely = near * _prior_shares(after.prior_mean_ms)
        total = float(likely.sum())
        shares = likely / total if total > 0.0 else np.eye(BANDS)[0]
        after.arrivals = (np.array(after.arrivals) + unknown * shares).tolist()
    return after


def arrival_rates(delays: Delays) -> _Floats:
    """Chance that a click converts at the age of each band, shape (BANDS,); their sum is the conversion rate."""
    shares = _prior_shares(delays.prior_mean_ms)
    arrivals, exposed = np.array(delays.arrivals), np.array(delays.exposed)
    reached = float(exposed @ shares)
    level = arrivals.sum() / reached if reached > 0.0 else 0.0
    rates: _Floats = (arrivals + _PRIOR_CLICKS * level * shares) / (exposed + _PRIOR_CLICKS)
    return rates


def conversion_rate(delays: Delays) -> float:
    """Conversions per click, late ones included; 0 before the first."""
    return float(arrival_rates(delays).sum())


def expected_arrivals(delays: Delays, until_ms: int) -> float:
    """Conversions expected to arrive between the last observation and `until_ms` from the clicks so far."""
    if not delays.cohort_ms or until_ms <= delays.seen_ms:
        return 0.0
    at_ms, clicks = _cohorts(delays)
    return float(_exposure(at_ms, clicks, float(delays.seen_ms), float(until_ms)) @ arrival_rates(delays))


def pending_conversions(delays: Delays) -> float:
    """Conversions that the clicks so far are still expected to bring."""
    return expected_arrivals(delays, delays.seen_ms + _OLDEST_MS)
