"""Exploration: trying other bids on purpose, as a bounded share of spend, at a cost that is known and booked.

The bid in force is tilted up and down around the controller's by a fixed step, in blocks whose order follows from the
campaign and the block number, so that a replay explores alike. The cost of a tilted block is what the value won in it
would have cost at the controller's own bid, against what it did cost.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from schemas.identity import stable_id

# The tilt: large enough to learn the slope from, small enough to cost little (a loss of second order in the tilt).
TILT: Final = 0.15
BLOCK_MS: Final = 600_000


class Exploration(msgspec.Struct, frozen=True):
    """Spend in tilted blocks and in all, and what the tilted ones cost beyond the untilted price of their value."""

    explored_micros: int = 0
    spend_micros: int = 0
    cost_micros: int = 0


class Tilt(NamedTuple):
    """The factor on the bid, and whether it is exploration."""

    factor: float
    explores: bool


def tilt_for(campaign_id: str, now_ms: int, share: float, booked: Exploration) -> Tilt:
    """The factor for the block around `now_ms`; 1 when the share is used up or the block is not one that explores.

    >>> tilt_for("c", 0, share=0.0, booked=Exploration())
    Tilt(factor=1.0, explores=False)
    """
    if share <= 0.0 or booked.explored_micros > share * booked.spend_micros:
        return Tilt(1.0, False)
    drawn = int(stable_id("explore", campaign_id, now_ms // BLOCK_MS)[:8], 16)
    if (drawn % 10_000) / 10_000 >= share:
        return Tilt(1.0, False)
    return Tilt(1.0 + TILT if drawn // 10_000 % 2 else 1.0 - TILT, True)


def book_block(booked: Exploration, tilt: Tilt, spend_micros: int, value: float, cost_per_value: float) -> Exploration:
    """Totals after a block; `cost_per_value` is the campaign's own, in micros, from untilted blocks."""
    if not tilt.explores:
        return msgspec.structs.replace(booked, spend_micros=booked.spend_micros + spend_micros)
    return Exploration(
        explored_micros=booked.explored_micros + spend_micros,
        spend_micros=booked.spend_micros + spend_micros,
        cost_micros=booked.cost_micros + round(spend_micros - value * cost_per_value),
    )
