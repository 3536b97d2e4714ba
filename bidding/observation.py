"""What a campaign's controller is told at a step."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.live import BudgetState


@dataclass(frozen=True, slots=True)
class Observation:
    """What happened since the last step, and how the budgets stand at `now_ms` (event time, never a clock).

    Counts and money are increments. `budgets` are the ledger's, spend up to now included. `eligible` (auctions that the
    campaign could have entered) may be unknown: then traffic is judged by impressions. `conversion_delays_ms` holds the
    time from click to conversion where it is known, for some or all of `conversions`.
    """

    now_ms: int
    budgets: tuple[BudgetState, ...] = ()
    spend_micros: int = 0
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    revenue_micros: int = 0
    eligible: int | None = None
    conversion_delays_ms: tuple[int, ...] = ()
    # The bid that really is in force: what was decided, approved, undone or set by a person.
    bid_in_force_micros: int | None = None
    # A person's word stands: observe and learn, propose nothing.
    overridden: bool = False
    # A person set or put back the bid: everything but the bid is still steered.
    bid_held: bool = False
    # The campaign could not deliver in this step (paused, not started): nothing is learned about its response.
    paused: bool = False
    # How far the newest report of spend lags behind the auction, when known.
    reporting_delay_ms: int | None = None
