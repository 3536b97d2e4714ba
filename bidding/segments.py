"""Bid modifiers by segment, learned with shrinkage towards the campaign's mean.

A segment (device=mobile, hour=20) has a rate: clicks per impression, or conversions per click. What it is relative to
the campaign's is estimated by gamma-Poisson shrinkage:

    relative = (events + k) / (expected + k)        expected = exposure * the campaign's rate

`k` comes from the segments themselves: the spread of their true rates beyond what chance explains (method of moments,
as in empirical Bayes; Efron and Morris 1975). Few segments or little spread give a large k, so a handful of clicks
moves nothing. A modifier is published only when its 90% interval excludes 1, rounded and bounded as
ad platforms take them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

# Google Ads takes -90% to +900%; beyond a factor of two either way the model is more likely wrong than the segment so
# different.
MODIFIER_MIN: Final = 0.5
MODIFIER_MAX: Final = 2.0
_K_MIN, _K_MAX = 10.0, 10_000.0
_Z90: Final = 1.645
# Without this many events the campaign itself has no rate to compare with.
_EVENTS_MIN: Final = 30.0


class Seen(NamedTuple):
    """What a segment was given and what came of it: impressions and clicks, or clicks and conversions."""

    exposure: float
    events: float


class Modifier(NamedTuple):
    """A segment's rate relative to the campaign's, with its 90% interval."""

    factor: float
    low: float
    high: float


def prior_weight(segments: Mapping[str, Seen]) -> float:
    """Events of the campaign's own rate that each segment is shrunk by.

    The variance of relative rates beyond Poisson's: sum((events - expected)^2 - expected) / sum(expected^2) = 1 / k.
    """
    exposure, events = sum(s.exposure for s in segments.values()), sum(s.events for s in segments.values())
    if exposure <= 0.0 or events <= 0.0:
        return _K_MAX
    rate = events / exposure
    expected = [s.exposure * rate for s in segments.values()]
    beyond = sum((s.events - e) ** 2 - e for s, e in zip(segments.values(), expected, strict=True))
    squares = sum(e * e for e in expected)
    if beyond <= 0.0 or squares <= 0.0:
        return _K_MAX
    return min(max(squares / beyond, _K_MIN), _K_MAX)


def relative_rates(segments: Mapping[str, Seen]) -> dict[str, Modifier]:
    """Each segment's shrunk rate relative to the campaign's; 1 all round while the campaign has too few events."""
    exposure, events = sum(s.exposure for s in segments.values()), sum(s.events for s in segments.values())
    if events < _EVENTS_MIN or exposure <= 0.0:
        return {name: Modifier(1.0, 0.0, math.inf) for name in segments}
    k, rate = prior_weight(segments), events / exposure
    relative = {}
    for name, seen in segments.items():
        posterior = seen.events + k
        factor = posterior / (seen.exposure * rate + k)
        spread = math.exp(_Z90 / math.sqrt(posterior))
        relative[name] = Modifier(factor, factor / spread, factor * spread)
    return relative


def bid_modifiers(segments: Mapping[str, Seen]) -> dict[str, float]:
    """The modifiers worth publishing, "dimension=value" -> factor in steps of 0.01 within [0.5, 2].

    >>> bid_modifiers({"device=mobile": Seen(1_000, 3), "device=desktop": Seen(1_000, 2)})
    {}
    """
    return {
        name: round(min(max(m.factor, MODIFIER_MIN), MODIFIER_MAX), 2)
        for name, m in sorted(relative_rates(segments).items())
        if m.low > 1.0 or m.high < 1.0
    }
