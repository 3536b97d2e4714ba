"""What the dataflow and the actuator say of a campaign that is bid for, for tests of what shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.decisions import Decision
from schemas.receipts import Receipt
from tests.dashboard.conftest import now_ms
from tests.support.live_feed import set_bid


def bidding(**changed: Any) -> dict[str, Any]:
    """What the dataflow says of a campaign that steers by a target CPA."""
    return {
        "strategy": "target_cpa", "mode": "auto", "bid_micros": 2_350_000, "pacing_rate": 0.8, "goal": 4_000_000,
        "multiplier": 0.1, "halted": 0, "learning": 0, "bid_held": None, "modifiers": 0, "waiting": 0,
        "in_flight_micros": 0, "reporting_delay_ms": None,
    } | changed  # fmt: skip


def recommendation(campaign_id: str) -> Decision:
    decision = set_bid(campaign_id, now_ms(), 2_350_000, 2_600_000)
    decision.mode = "recommend"
    return decision


def receipt(decision: Decision, state: str, **changed: Any) -> Receipt:
    made = Receipt(
        receipt_id=f"r-{decision.decision_id}", decision_id=decision.decision_id, decision_offset=0,
        org_id=decision.org_id, campaign_id=decision.campaign_id, kind=decision.kind, platform="tiktok",
        account_id="7004", campaign_ref="17801", state=state, attempts=1, ts_ms=now_ms(),
        requests=[{"method": "POST", "url": "https://example.com/bid", "body": {"bid_price": 2.35}}],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)
