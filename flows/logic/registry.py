"""Numbers (slots) of series and campaigns within a shard: bounded, and given out again when freed."""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

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
        # Series that were counted under OTHER, each time one was looked up.
        self.folded = 0
        self._list: list[SeriesKey] = []
        self._slot_of_code = np.empty(0, np.int32)
        # Codes whose series had no room of its own: looked up again once there is room.
        self._folded_codes: list[int] = []

    def campaign(self, key: CampaignKey, *, defined: bool = False) -> int:
        """The slot of a campaign, made when it is new."""
        slot = self.campaigns.get(key)
        if slot is None:
            if not defined and len(self.campaigns) >= self.limits.campaigns and key.campaign_id != OTHER:
                return self.campaign(CampaignKey(key.org_id, OTHER))
            slot = self.campaigns.add(key)
            if slot == len(self.series_of_campaign):
                self.series_of_campaign.append(0)
            self.new_campaigns.append(slot)
        return slot

    def _series(self, key: SeriesKey) -> int:
        slot = self.series.get(key)
        if slot is not None:
            return slot
        campaign = self.campaign(CampaignKey(key.org_id, key.campaign_id))
        kept = self.campaigns.key(campaign)
        full = (
            len(self.series) >= self.limits.series
            or self.series_of_campaign[campaign] >= self.limits.series_per_campaign
            or kept.campaign_id != key.campaign_id
        )
        if full and key.creative_id != OTHER:
            self.folded += 1
            return self._series(SeriesKey(*kept, OTHER, OTHER, OTHER, OTHER))
        slot = self.series.add(key)
        if slot == len(self.campaign_of_series):
            self.campaign_of_series.append(campaign)
        self.campaign_of_series[slot] = campaign
        self.series_of_campaign[campaign] += 1
        self.new_series.append(slot)
        return slot

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
            folded = self.folded
            found.append(self._series(batch.series[code]))
            if self.folded > folded:
                self._folded_codes.append(code)
        self._slot_of_code[codes] = found

    def free_series(self, slots: list[int]) -> None:
        """Forget series; a batch that names them again makes them anew."""
        for slot in slots:
            self.series.free(slot)
            self.series_of_campaign[self.campaign_of_series[slot]] -= 1
        if slots:
            self._slot_of_code[np.isin(self._slot_of_code, slots)] = -1
            self._slot_of_code[self._folded_codes] = -1
            self._folded_codes = []

    def free_campaign(self, slot: int) -> None:
        """Forget a campaign without series."""
        assert self.series_of_campaign[slot] == 0, "a campaign is freed after its series"
        self.campaigns.free(slot)

    def load(
        self,
        campaigns: list[CampaignKey | None],
        series: list[SeriesKey | None],
        campaign_of_series: NDArray[np.int32],
    ) -> None:
        """Take the keys of a snapshot."""
        self.campaigns.load(campaigns)
        self.series.load(series)
        self.campaign_of_series = campaign_of_series[: len(series)].tolist()
        self.series_of_campaign = [0] * len(campaigns)
        for slot, _ in self.series.used():
            self.series_of_campaign[self.campaign_of_series[slot]] += 1
