"""What a bidder reads before it bids: one small record a campaign, in Redis or in memory."""

from __future__ import annotations

import msgspec


class Serving(msgspec.Struct, kw_only=True):
    """The state a bidder acts on; its JSON has every field.

    `seq` rises with every change; a lower one never replaces a higher one.
    """

    org_id: str
    campaign_id: str
    seq: int = 0
    paused: bool = False
    pause_reason: str | None = None
    # CPM bid in micros of the campaign's currency; None until a bid was set.
    bid_micros: int | None = None
    # Share of eligible auctions to take part in, 0 to 1.
    pacing_rate: float = 1.0
    # Bid modifiers, "dimension=value" -> factor, such as {"device=mobile": 1.2}.
    modifiers: dict[str, float] = {}
    currency: str = "USD"
    # What may still be spent before the next pause, already less what is in flight; None without a budget.
    spendable_micros: int | None = None
    # The definition's dates (ms): a bidder that reads an old state sees by itself that the campaign has ended.
    start_ms: int | None = None
    end_ms: int | None = None
    decided_ms: int = 0
    decision_id: str | None = None
