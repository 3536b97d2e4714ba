"""The last state of everything that browsers show, kept in bounded memory.

Every change has a sequence number. A client needs no queue: what it has not seen is what changed after the number it
was sent last, and campaigns are kept in the order of their last change.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final

import msgspec

from api.live.points import STEP_MS, PointRing
from api.live.rows import encode_row, with_spark
from schemas.campaigns import Campaign, CampaignStatus
from schemas.decisions import Decision
from schemas.kpis import Counters
from schemas.live import CampaignLive, FlowStatus, StoreStatus, Verification

# At most 14,400 bytes of points and about 6 kB of row each: 205 MB when ten thousand have a full hour.
CAMPAIGNS_MAX: Final = 10_000
# For each organisation; older ones are a query away.
DECISIONS_MAX: Final = 1_000
WORKERS_MAX: Final = 256


class Entry:
    """One campaign: its last row, encoded once for all clients when the first of them needs it."""

    __slots__ = ("_encoded", "event_ms", "is_archived", "points", "row", "seq")

    def __init__(self) -> None:
        self.row: CampaignLive
        self.seq = 0
        self.event_ms = 0
        self.is_archived = False
        self.points = PointRing()
        self._encoded: bytes | None = None

    def put(self, row: CampaignLive, seq: int) -> None:
        """Take the new row over the old."""
        if self.seq == 0:
            self.event_ms = _last_event_ms(row)
        elif row.total != self.row.total:
            self.event_ms = row.now_ms
        self.row, self.seq, self._encoded = row, seq, None
        self.points.put(row.windows)

    def archive(self, seq: int, *, is_archived: bool) -> None:
        """Put the campaign away, or take it out again."""
        self.is_archived, self.seq, self._encoded = is_archived, seq, None

    def encoded(self) -> bytes:
        """The row as JSON."""
        if self._encoded is None:
            self._encoded = encode_row(self.row, self.event_ms, is_archived=self.is_archived)
        return self._encoded

    def encoded_with_spark(self) -> bytes:
        """The row as JSON with its spark line."""
        return with_spark(self.encoded(), self.points.spark())


_NOTHING: Final = Counters()


def _last_event_ms(row: CampaignLive) -> int:
    """When the newest event of a row seen for the first time came, by the log's clock; 0 without events.

    The end of its newest window, which is event time, moved by as much as event time is behind the clock.
    """
    if row.total == _NOTHING:
        return 0
    newest_end_ms = max((start_ms for start_ms, _ in row.windows), default=row.watermark_ms) + STEP_MS
    return min(row.now_ms, newest_end_ms + row.now_ms - row.watermark_ms)


class Recent:
    """The newest decisions of an organisation, as the bytes they came in."""

    __slots__ = ("_ids", "_kept", "dropped_seq")

    def __init__(self) -> None:
        self._kept: deque[tuple[int, str, bytes]] = deque()
        self._ids: OrderedDict[str, None] = OrderedDict()
        # The number of the newest that is no longer kept: who is behind it has missed some.
        self.dropped_seq = 0

    def put(self, seq: int, decision: Decision, record: bytes) -> None:
        """Keep a decision, dropping the oldest when full; the flow writes some again after a crash."""
        if decision.decision_id in self._ids:
            return
        if len(self._kept) == DECISIONS_MAX:
            self.dropped_seq = self._kept.popleft()[0]
            self._ids.popitem(last=False)
        self._kept.append((seq, decision.campaign_id, record))
        self._ids[decision.decision_id] = None

    def since(self, seq: int) -> list[tuple[int, str, bytes]]:
        """(seq, campaign, record) of those after `seq`, oldest first."""
        newer: list[tuple[int, str, bytes]] = []
        for kept in reversed(self._kept):
            if kept[0] <= seq:
                break
            newer.append(kept)
        newer.reverse()
        return newer

    def of_campaign(self, campaign_id: str) -> list[bytes]:
        """Records of one campaign, oldest first."""
        return [record for _, campaign, record in self._kept if campaign == campaign_id]


class Organisation:
    """What one organisation's clients may see."""

    __slots__ = ("campaigns", "decisions", "event_ms", "evicted_seq")

    def __init__(self) -> None:
        # In the order of their last change.
        self.campaigns: OrderedDict[str, Entry] = OrderedDict()
        self.decisions = Recent()
        self.event_ms = 0
        self.evicted_seq = 0

    def changed_since(self, seq: int) -> list[Entry]:
        """Campaigns that changed after `seq`, the longest waiting first."""
        newer: list[Entry] = []
        for entry in reversed(self.campaigns.values()):
            if entry.seq <= seq:
                break
            newer.append(entry)
        newer.reverse()
        return newer


class Board:
    """All organisations, and how flow and store are doing."""

    def __init__(self, campaigns_max: int = CAMPAIGNS_MAX) -> None:
        self._campaigns_max: Final = campaigns_max
        self._organisations: dict[str, Organisation] = {}
        self._campaigns = 0
        # As many as there are archived definitions.
        self._archived: set[tuple[str, str]] = set()
        self.seq = 0
        self.status_seq = 0
        self.flow: dict[int, FlowStatus] = {}
        self.store: StoreStatus | None = None
        self._verification: Verification | None = None

    @property
    def campaigns(self) -> int:
        """How many campaigns it holds."""
        return self._campaigns

    def organisation(self, org_id: str) -> Organisation:
        """The organisation's part; an empty one that is not kept when nothing of it was seen."""
        return self._organisations.get(org_id) or Organisation()

    def put_row(self, row: CampaignLive) -> None:
        """Take in a campaign's new row."""
        organisation = self._organisations.setdefault(row.org_id, Organisation())
        entry = organisation.campaigns.get(row.campaign_id)
        if entry is None:
            if self._campaigns >= self._campaigns_max:
                self._evict()
            entry = organisation.campaigns[row.campaign_id] = Entry()
            entry.is_archived = (row.org_id, row.campaign_id) in self._archived
            self._campaigns += 1
        self.seq += 1
        entry.put(row, self.seq)
        organisation.campaigns.move_to_end(row.campaign_id)
        organisation.event_ms = max(organisation.event_ms, entry.event_ms)

    def put_definition(self, campaign: Campaign) -> None:
        """Take in whether a campaign is archived."""
        key = (campaign.org_id, campaign.campaign_id)
        is_archived = campaign.status is CampaignStatus.ARCHIVED
        if is_archived == (key in self._archived):
            return
        if is_archived:
            self._archived.add(key)
        else:
            self._archived.discard(key)
        campaigns = self.organisation(campaign.org_id).campaigns
        if (entry := campaigns.get(campaign.campaign_id)) is not None:
            self.seq += 1
            entry.archive(self.seq, is_archived=is_archived)
            campaigns.move_to_end(campaign.campaign_id)

    def put_decision(self, decision: Decision, record: bytes) -> None:
        """Take in a decision and the bytes it came in."""
        self.seq += 1
        organisation = self._organisations.setdefault(decision.org_id, Organisation())
        organisation.decisions.put(self.seq, decision, record)

    def put_flow(self, status: FlowStatus) -> None:
        """Take in how one worker of the flow is doing."""
        if status.worker in self.flow or len(self.flow) < WORKERS_MAX:
            self.flow[status.worker] = status
            self._status_changed()

    def put_store(self, status: StoreStatus) -> None:
        """Take in how the writer into ClickHouse is doing."""
        self.store = status
        self._note(status.verification)
        self._status_changed()

    def put_verification(self, verification: Verification) -> None:
        """Take in a comparison of the log with ClickHouse that another than the store has made."""
        self._note(verification)
        self._status_changed()

    def _note(self, verification: Verification | None) -> None:
        """The store says its own last one again and again: the newest of all is shown."""
        known = self._verification
        if verification is not None and (known is None or verification.at_ms >= known.at_ms):
            self._verification = verification
        if self.store is not None:
            self.store = msgspec.structs.replace(self.store, verification=self._verification)

    def _status_changed(self) -> None:
        self.seq += 1
        self.status_seq = self.seq

    def _evict(self) -> None:
        """Drop the campaign that has not changed for the longest time, of the organisation that has most."""
        holding = [org for org in self._organisations.values() if org.campaigns]
        organisation = min(holding, key=lambda org: (-len(org.campaigns), next(iter(org.campaigns.values())).seq))
        _, entry = organisation.campaigns.popitem(last=False)
        organisation.evicted_seq = entry.seq
        self._campaigns -= 1

    def organisations(self) -> Iterator[str]:
        """Ids of the organisations seen."""
        return iter(self._organisations)
