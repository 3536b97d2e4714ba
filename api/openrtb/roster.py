"""Campaigns that our bidder may bid for, kept from topic `control`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from api.metrics import BAD_RECORDS
from schemas import topics
from schemas.campaigns import Campaign, CampaignStatus
from schemas.control import CampaignRecord, decode_control
from schemas.log import Chunk
from schemas.unreadable import UNREADABLE

_log = logging.getLogger(__name__)


class Roster:
    """Definitions with creatives, newest version of each, by organisation."""

    def __init__(self, defined: Callable[[Campaign], None] = lambda _: None) -> None:
        # Told of every definition that comes into force.
        self._defined = defined
        self._versions: dict[tuple[str, str], int] = {}
        self._campaigns: dict[str, dict[str, Campaign]] = {}

    def campaigns(self, org_id: str) -> list[Campaign]:
        """The organisation's campaigns that could be shown."""
        return list(self._campaigns.get(org_id, {}).values())

    def is_defined(self, org_id: str, campaign_id: str) -> bool:
        """Has anybody defined the campaign, whatever its status?"""
        return (org_id, campaign_id) in self._versions

    def get(self, org_id: str, campaign_id: str) -> Campaign | None:
        """One campaign; None when it has no creatives, is archived or unknown."""
        return self._campaigns.get(org_id, {}).get(campaign_id)

    def take(self, chunk: Chunk) -> None:
        """Take in records of topic `control`."""
        for raw in chunk.records():
            try:
                record = decode_control(raw)
                if isinstance(record, CampaignRecord):
                    self._define(record)
            except UNREADABLE as error:
                BAD_RECORDS.labels(topics.CONTROL).inc()
                _log.warning("a record of topic control was left out: %s", error)

    def _define(self, record: CampaignRecord) -> None:
        key = (record.org_id, record.campaign_id)
        if record.version <= self._versions.get(key, 0):
            return
        campaign = record.definition()
        self._versions[key] = record.version
        self._defined(campaign)
        of_org = self._campaigns.setdefault(record.org_id, {})
        if campaign.creatives and campaign.status is not CampaignStatus.ARCHIVED:
            of_org[campaign.campaign_id] = campaign
        else:
            of_org.pop(campaign.campaign_id, None)
