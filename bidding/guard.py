"""What keeps automation in bounds: the cap on a change, the cooldown, the learning guard, the circuit breaker."""

from __future__ import annotations

import math
from typing import Final

import msgspec
from scipy.special import gammainc, gammaincc

from schemas.campaigns import Bidding

# The breaker compares what arrived with what was expected over about this many expected events.
_WINDOW_EVENTS: Final = 60.0
# Less than one false alarm in a million steps; back in band when the outcome would be no surprise.
_TRIP_CHANCE: Final = 1e-6
_BACK_CHANCE: Final = 0.02
# Departures within these factors are the market's, for goal steering to follow.
_BAND_LOW, _BAND_HIGH = 0.4, 2.5


def bounded_bid(before_micros: int, wanted_micros: float, bidding: Bidding) -> int:
    """The wanted bid within the cap on one change, the bid floor and the bid cap.

    The cap on a change wins over floor and cap: a bid far outside is walked in. It is a share of the bid before, so
    that `abs(after - before) <= max_change * before` always holds.
    """
    step = math.floor(before_micros * bidding.max_change)
    low, high = before_micros - step, before_micros + step
    wanted = round(min(max(wanted_micros, 1.0), 1e15))
    if bidding.bid_floor_micros is not None:
        wanted = max(wanted, bidding.bid_floor_micros)
    if bidding.bid_cap_micros is not None:
        wanted = min(wanted, bidding.bid_cap_micros)
    return max(min(max(wanted, low), high), 1)


def cooled_down(last_change_ms: int | None, now_ms: int, cooldown_ms: int) -> bool:
    """Whether the next change may come."""
    return last_change_ms is None or now_ms - last_change_ms >= cooldown_ms


class Breaker(msgspec.Struct, frozen=True):
    """Outcomes against their expectation over the recent past; `open` is: automation has stopped."""

    expected: float = 0.0
    arrived: float = 0.0
    open: bool = False


def outcome_chance(arrived: float, expected: float) -> float:
    """Chance of an outcome at least as far off as this one, were the expectation right (Poisson, one tail).

    >>> outcome_chance(arrived=0, expected=20) < 1e-8 < 0.3 < outcome_chance(arrived=19, expected=20)
    True
    """
    if expected <= 0.0:
        return 1.0
    low = float(gammaincc(arrived + 1.0, expected))
    high = float(gammainc(arrived, expected)) if arrived > 0.0 else 1.0
    return min(low, high)


def watch_outcome(breaker: Breaker, expected: float, arrived: int) -> Breaker:
    """The breaker after a step in which `expected` outcomes were due and `arrived` came.

    It opens when outcomes are out of the band and chance cannot explain it, and closes when they are back in it.
    """
    total = breaker.expected + expected
    kept = min(1.0, _WINDOW_EVENTS / total) if total > 0.0 else 1.0
    due, came = total * kept, (breaker.arrived + arrived) * kept
    if not breaker.open:
        off = came < _BAND_LOW * due or came > _BAND_HIGH * due
        return Breaker(due, came, off and outcome_chance(came, due) < _TRIP_CHANCE)
    back = _BAND_LOW * due <= came <= _BAND_HIGH * due
    if back and outcome_chance(came, due) > _BACK_CHANCE:
        return Breaker(0.0, 0.0, False)
    return Breaker(due, came, True)
