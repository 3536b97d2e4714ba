"""What a sender may send: the rules that its key and its organisation's bounds make for every event."""

from __future__ import annotations

from fastapi import Request

from api import metrics
from api.auth import Sender
from api.wiring import Wiring
from ingest.admission import Rules
from ingest.new_names import NEW_NAMES_MAX, NewNames
from schemas.dead_letters import Reject

_FOREIGN = (Reject.FOREIGN_CAMPAIGN, "is not one of this key's campaigns")
_TOO_MANY = (
    Reject.TOO_MANY_CAMPAIGNS,
    f"is not defined, and {NEW_NAMES_MAX} new campaigns came in this hour; define it, or mend what names it",
)


def rules_of(request: Request, sender: Sender) -> Rules:
    """For one request; the campaigns that it is asked about count as heard of."""
    wiring: Wiring = request.app.state.wiring
    names: NewNames = request.app.state.new_names
    now_ms = wiring.now_ms()

    def verdict(campaign_id: str) -> tuple[Reject, str] | None:
        if sender.scope is not None and not sender.scope.takes_campaign(campaign_id):
            return _FOREIGN
        # A lead may be of no campaign.
        if campaign_id and not names.takes(sender.org_id, campaign_id, now_ms):
            metrics.ORGANISATION_REFUSED.labels(sender.org_id, "new_campaigns").inc()
            return _TOO_MANY
        return None

    return Rules(verdict, sender.money)
