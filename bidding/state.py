"""The state of one campaign's controller: plain numbers, so that it copies, compares and encodes exactly."""

from __future__ import annotations

from typing import Final

import msgspec

from bidding.exploration import Exploration
from bidding.forecast import Traffic
from bidding.guard import Breaker
from bidding.in_flight import ReportingLag
from bidding.value.delay import Delays

# Where bids start that nobody gave a start for: one currency unit per thousand.
FIRST_BID_MICROS: Final = 1_000_000


class CampaignState(msgspec.Struct):
    """All that a controller remembers. `log_goal` is the goal's multiplier; the budget's is in the bid itself."""

    bid_micros: int
    first_bid_micros: int
    pacing_rate: float = 1.0
    halted: bool = False
    step: int = 0
    seen_ms: int | None = None
    changed_ms: int | None = None
    # Spend and forecast traffic of the recent past, the spend as it would have been at today's bid and full pacing.
    recent_spend: float = 0.0
    recent_traffic: float = 0.0
    recent_impressions: float = 0.0
    # Totals since the start, and the decayed ones that goals are steered by.
    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    response_impressions: float = 0.0
    response_clicks: float = 0.0
    goal_spend: float = 0.0
    goal_conversions: float = 0.0
    goal_revenue: float = 0.0
    log_goal: float = 0.0
    traffic: Traffic = msgspec.field(default_factory=Traffic)
    lag: ReportingLag = ReportingLag()
    delays: Delays = msgspec.field(default_factory=Delays)
    breaker: Breaker = Breaker()
    # The exploring factor in the bid, and what exploration has spent and cost so far.
    tilt: float = 1.0
    exploration: Exploration = Exploration()


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(CampaignState)


def encode_state(state: CampaignState) -> bytes:
    """Canonical bytes: equal states encode equally."""
    return _encoder.encode(state)


def decode_state(encoded: bytes) -> CampaignState:
    """The state in the bytes; raises msgspec.ValidationError on anything else."""
    return _decoder.decode(encoded)
