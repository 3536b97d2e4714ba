"""Spend that was won but is not reported yet.

Two forms. A bidder that sees its own wins keeps `Reservations`: exact, released by billing, loss or expiry. A campaign
on a platform that reports later has only `ReportingLag`: spend per millisecond times how long reports take.

Bound: with a pause in effect `delay` after the spend that causes it, overspend is at most `peak rate * delay` less what
was reserved; `ReportingLag` reserves at the recent peak, so overspend beyond the budget is what the rate rose above its
recent peak within one delay.
"""

from __future__ import annotations

from typing import Final

import msgspec

# A win whose billing notice never came: exchanges bill within minutes (OpenRTB 2.6, section 4.2).
EXPIRY_MS: Final = 900_000
RESERVATIONS_MAX: Final = 100_000
# Until a delay was seen: collectors and log add about a second.
_DELAY_PRIOR_MS: Final = 2_000.0
_DELAY_WEIGHT: Final = 0.1
# Per step, so that a peak of an hour ago is forgotten at 10 s a step.
_PEAK_KEPT: Final = 0.99


class ReportingLag(msgspec.Struct, frozen=True):
    """How long reports take, and how fast money goes out."""

    delay_ms: float = _DELAY_PRIOR_MS
    peak_micros_per_ms: float = 0.0


def learn_lag(lag: ReportingLag, spend_micros: int, span_ms: int, delay_ms: int | None) -> ReportingLag:
    """The lag after a step in which `spend_micros` were reported over `span_ms`; `delay_ms` when it was measured."""
    if span_ms <= 0:
        return lag
    # A rise is believed at once and forgotten slowly: it errs towards stopping early.
    peak = max(spend_micros / span_ms, lag.peak_micros_per_ms * _PEAK_KEPT)
    delay = lag.delay_ms if delay_ms is None else lag.delay_ms + _DELAY_WEIGHT * (delay_ms - lag.delay_ms)
    if delay_ms is not None:
        delay = max(delay, float(delay_ms) * 0.5)
    return ReportingLag(delay, peak)


def reserved_micros(lag: ReportingLag) -> int:
    """What to hold back for spend under way.

    >>> reserved_micros(ReportingLag(delay_ms=2_000, peak_micros_per_ms=50.0))
    100000
    """
    return round(lag.delay_ms * lag.peak_micros_per_ms)


class Reservations(msgspec.Struct):
    """What open wins of one campaign may still cost, by bid id; `left_micros` is the budget not spent."""

    left_micros: int
    open_micros: dict[str, int] = {}
    expires_ms: dict[str, int] = {}
    reserved: int = 0

    @property
    def spendable_micros(self) -> int:
        """What a further bid may cost: what is left, less all open wins; never negative."""
        return max(self.left_micros - self.reserved, 0)

    def reserve(self, bid_id: str, micros: int, now_ms: int) -> bool:
        """Hold money for a bid; False, and nothing held, when it is not there or too many are open."""
        if bid_id in self.open_micros:
            return True
        if micros <= 0 or micros > self.spendable_micros or len(self.open_micros) >= RESERVATIONS_MAX:
            return False
        self.open_micros[bid_id] = micros
        self.expires_ms[bid_id] = now_ms + EXPIRY_MS
        self.reserved += micros
        return True

    def release(self, bid_id: str) -> None:
        """A loss or an expiry: the money is free again. Unknown ids change nothing."""
        self.reserved -= self.open_micros.pop(bid_id, 0)
        self.expires_ms.pop(bid_id, None)

    def book(self, bid_id: str, micros: int) -> None:
        """A billing notice: spend `micros`, whether or not the win was still open."""
        self.release(bid_id)
        self.left_micros -= micros

    def expire(self, now_ms: int) -> None:
        """Free what was never billed in time."""
        for bid_id in [b for b, at_ms in self.expires_ms.items() if at_ms <= now_ms]:
            self.release(bid_id)
