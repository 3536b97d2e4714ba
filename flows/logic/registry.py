"""Numbers (slots) of series and campaigns within a shard: bounded, and given out again when freed."""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.batch import EventBatch, SeriesKey

# Up to so many series and campaigns are kept apart; new ones beyond are counted together under OTHER. A series with
# its open windows takes 1 to 50 KiB, a campaign 5 to 100 KiB, growing with its traffic.
SERIES_PER_CAMPAIGN_MAX: Final = 16_384
SERIES_MAX: Final = 262_144
# Only campaigns without a definition are folded: their names come from whoever sends events.
CAMPAIGNS_MAX: Final = 65_536
OTHER: Final = "~other"
# When a shard is full, an organisation still has this part of the bound to itself, so that one's flood is not another's
# outage: those that have defined a campaign, and so many others that were there first. So a shard never holds more than
# twice the bound and, for each organisation with definitions, this part.
GUARANTEED_PART: Final = 64
# Organisations whose folded names are counted apart, for metrics; those of later ones are counted under OTHER.
FOLDED_ORGS_MAX: Final = 64


class CampaignKey(NamedTuple):
    """A campaign within its organisation; leads without a campaign have the empty campaign_id."""

    org_id: str
    campaign_id: str


class Limits(NamedTuple):
    """Bounds of a registry."""

    series_per_campaign: int = SERIES_PER_CAMPAIGN_MAX
    series: int = SERIES_MAX
    campaigns: int = CAMPAIGNS_MAX


K = TypeVar("K", bound=tuple[str, ...])


class Slots(Generic[K]):
    """Keys numbered from 0 without gaps but those of freed keys, which are filled first."""

    def __init__(self) -> None:
        self.keys: list[K | None] = []
        self._slot_of: dict[K, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slot_of)

    def get(self, key: K) -> int | None:
        return self._slot_of.get(key)

    def add(self, key: K) -> int:
        """The slot of a key that is not there yet."""
        if self._free:
            slot = self._free.pop()
            self.keys[slot] = key
        else:
            slot = len(self.keys)
            self.keys.append(key)
        self._slot_of[key] = slot
        return slot

    def free(self, slot: int) -> K:
        key = self.key(slot)
        del self._slot_of[key]
        self.keys[slot] = None
        self._free.append(slot)
        return key

    def key(self, slot: int) -> K:
        key = self.keys[slot]
        assert key is not None, f"slot {slot} is free"
        return key

    def used(self) -> list[tuple[int, K]]:
        return [(slot, key) for slot, key in enumerate(self.keys) if key is not None]

    def load(self, keys: list[K | None]) -> None:
        """Take the keys of a snapshot; None is a free slot."""
        self.keys = keys
        self._slot_of = {key: slot for slot, key in enumerate(keys) if key is not None}
        self._free = [slot for slot, key in enumerate(keys) if key is None]


class Share:
    """How much of one bound each organisation has."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._guaranteed = most // GUARANTEED_PART
        self._total = 0
        self._counts: dict[str, int] = {}

    def fits(self, org_id: str, *, guaranteed: bool) -> bool:
        """Whether the organisation may have one more."""
        return self._total < self._most or (guaranteed and self._counts.get(org_id, 0) < self._guaranteed)

    def add(self, org_id: str) -> None:
        self._total += 1
        self._counts[org_id] = self._counts.get(org_id, 0) + 1

    def drop(self, org_id: str) -> None:
        self._total -= 1
        self._counts[org_id] -= 1
        if self._counts[org_id] == 0:
            del self._counts[org_id]


class Registry:
    """Slots of campaigns and series; the state arrays have one row a slot."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.campaigns: Slots[CampaignKey] = Slots()
        self.series: Slots[SeriesKey] = Slots()
        self.campaign_of_series: list[int] = []
        self.series_of_campaign: list[int] = []
        # New slots since the shard last made rows for them.
        self.new_campaigns: list[int] = []
        self.new_series: list[int] = []
        # Slots of campaigns that people have set something for: they are never folded.
        self.defined: set[int] = set()
        # Organisations with a guaranteed part.
        self.guaranteed: set[str] = set()
        # By organisation: series that were counted under OTHER, each time one was looked up.
        self.folded: dict[str, int] = {}
        self._folded_told: dict[str, int] = {}
        self._unknown = Share(limits.campaigns)
        self._share_of_series = Share(limits.series)
        self._list: list[SeriesKey] = []
        self._slot_of_code = np.empty(0, np.int32)
        # Codes whose series had no room of its own: looked up again once there is room.
        self._folded_codes: list[int] = []

    def campaign(self, key: CampaignKey, *, defined: bool = False) -> int:
        """The slot of a campaign, made when it is new."""
        slot = self.campaigns.get(key)
        if slot is None:
            if not defined and key.campaign_id != OTHER and not self._fits(self._unknown, key.org_id):
                return self.campaign(CampaignKey(key.org_id, OTHER))
            slot = self.campaigns.add(key)
            if slot == len(self.series_of_campaign):
                self.series_of_campaign.append(0)
            self.new_campaigns.append(slot)
            self._unknown.add(key.org_id)
        if defined and slot not in self.defined:
            self.defined.add(slot)
            self.guaranteed.add(key.org_id)
            self._unknown.drop(key.org_id)
            # Its events may have been folded until now.
            self._look_up_folded_again()
        return slot

    def _fits(self, share: Share, org_id: str) -> bool:
        if org_id not in self.guaranteed and len(self.guaranteed) < GUARANTEED_PART:
            self.guaranteed.add(org_id)
        return share.fits(org_id, guaranteed=org_id in self.guaranteed)

    def _series(self, key: SeriesKey) -> int:
        slot = self.series.get(key)
        if slot is not None:
            return slot
        campaign = self.campaign(CampaignKey(key.org_id, key.campaign_id))
        kept = self.campaigns.key(campaign)
        full = (
            not self._fits(self._share_of_series, key.org_id)
            or self.series_of_campaign[campaign] >= self.limits.series_per_campaign
            or kept.campaign_id != key.campaign_id
        )
        if full and key.creative_id != OTHER:
            self._count_folded(key.org_id)
            return self._series(SeriesKey(*kept, OTHER, OTHER, OTHER, OTHER))
        slot = self.series.add(key)
        if slot == len(self.campaign_of_series):
            self.campaign_of_series.append(campaign)
        self.campaign_of_series[slot] = campaign
        self.series_of_campaign[campaign] += 1
        self._share_of_series.add(key.org_id)
        self.new_series.append(slot)
        return slot

    def _count_folded(self, org_id: str) -> None:
        counted = org_id if org_id in self.folded or len(self.folded) < FOLDED_ORGS_MAX else OTHER
        self.folded[counted] = self.folded.get(counted, 0) + 1

    def newly_folded(self) -> dict[str, int]:
        """By organisation: what was folded since this was last asked."""
        told, self._folded_told = self._folded_told, dict(self.folded)
        return {org_id: more for org_id, count in self.folded.items() if (more := count - told.get(org_id, 0)) > 0}

    def slots(self, batch: EventBatch) -> NDArray[np.int32]:
        """The series slot of each row; a list of series seen in the batch before is looked up only where it grew."""
        if batch.series is not self._list:
            self._list, self._folded_codes = batch.series, []
            self._slot_of_code = np.full(len(batch.series), -1, np.int32)
        elif len(self._slot_of_code) < len(batch.series):
            grown = np.full(len(batch.series) - len(self._slot_of_code), -1, np.int32)
            self._slot_of_code = np.concatenate([self._slot_of_code, grown])
        slots: NDArray[np.int32] = self._slot_of_code[batch.series_code]
        unknown = slots < 0
        if unknown.any():
            self._look_up(batch, np.unique(batch.series_code[unknown]))
            slots = self._slot_of_code[batch.series_code]
        return slots

    def _look_up(self, batch: EventBatch, codes: NDArray[np.int32]) -> None:
        found = []
        for code in codes.tolist():
            key = batch.series[code]
            slot = self._series(key)
            found.append(slot)
            if self.series.key(slot) != key:
                self._folded_codes.append(code)
        self._slot_of_code[codes] = found

    def free_series(self, slots: list[int]) -> None:
        """Forget series; a batch that names them again makes them anew."""
        for slot in slots:
            self._share_of_series.drop(self.series.free(slot).org_id)
            self.series_of_campaign[self.campaign_of_series[slot]] -= 1
        if slots:
            self._slot_of_code[np.isin(self._slot_of_code, slots)] = -1
            self._look_up_folded_again()

    def free_campaign(self, slot: int) -> None:
        """Forget a campaign without series."""
        assert self.series_of_campaign[slot] == 0, "a campaign is freed after its series"
        org_id = self.campaigns.free(slot).org_id
        if slot in self.defined:
            self.defined.discard(slot)
        else:
            self._unknown.drop(org_id)
        self._look_up_folded_again()

    def _look_up_folded_again(self) -> None:
        self._slot_of_code[self._folded_codes] = -1
        self._folded_codes = []

    def snapshot(self) -> dict[str, Any]:
        """What is kept beside the keys."""
        return {"defined": sorted(self.defined), "guaranteed": sorted(self.guaranteed), "folded": dict(self.folded)}

    def load(
        self,
        campaigns: list[CampaignKey | None],
        series: list[SeriesKey | None],
        campaign_of_series: NDArray[np.int32],
        beside: dict[str, Any],
    ) -> None:
        """Take the keys of a snapshot, and what is kept beside them."""
        self.campaigns.load(campaigns)
        self.series.load(series)
        self.campaign_of_series = campaign_of_series[: len(series)].tolist()
        self.series_of_campaign = [0] * len(campaigns)
        for slot, series_key in self.series.used():
            self.series_of_campaign[self.campaign_of_series[slot]] += 1
            self._share_of_series.add(series_key.org_id)
        self.defined, self.guaranteed = set(beside["defined"]), set(beside["guaranteed"])
        self.folded, self._folded_told = dict(beside["folded"]), dict(beside["folded"])
        for slot, key in self.campaigns.used():
            if slot not in self.defined:
                self._unknown.add(key.org_id)
