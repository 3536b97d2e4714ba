"""Numbers (slots) of series and campaigns within a shard: bounded, and given out again when freed."""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns import series_slots as at
from flows.logic.campaigns.series_free import forget, free_series, put_campaign, remove_campaign
from flows.logic.campaigns.series_index import IndexArrays, longer
from flows.logic.campaigns.series_slots import OTHER, Bounds, Given, Seen
from flows.logic.kept import KeptRows
from schemas.batch import EventBatch, SeriesColumns, SeriesKey
from schemas.decode import campaign_hash
from schemas.decode.words import SPREAD

# Up to so many series and campaigns are kept apart; new ones beyond are counted together under OTHER. A series with
# its open windows takes 1 to 50 KiB, a campaign 5 to 100 KiB, growing with its traffic.
SERIES_PER_CAMPAIGN_MAX: Final = 16_384
SERIES_MAX: Final = 262_144
# Only campaigns without a definition are folded: their names come from whoever sends events.
CAMPAIGNS_MAX: Final = 65_536
# When a shard is full, an organisation still has this part of the bound to itself, so that one's flood is not another's
# outage: those that have defined a campaign, and so many others that were there first. So a shard never holds more than
# twice the bound and, for each organisation with definitions, this part.
GUARANTEED_PART: Final = 64
__all__ = ["OTHER", "CampaignKey", "Limits", "Registry", "Slots"]


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
    """Slots of campaigns and series; the state arrays have one row a slot.

    Campaigns are Python's: few are new. Series are kernels': see `flows.logic.campaigns.series_slots`.
    """

    def __init__(self, limits: Limits, spread: int = int(SPREAD)) -> None:
        """`spread` has no influence on slots: see `place_of`."""
        self.limits = limits
        self.campaigns: Slots[CampaignKey] = Slots()
        self._organisations: Slots[tuple[str]] = Slots()
        # New slots since the shard last made rows for them.
        self.new_campaigns: list[int] = []
        self.new_series = np.empty(0, np.int32)
        # Slots of campaigns that people have set something for: they are never folded.
        self.defined: set[int] = set()
        self._folded_told: dict[str, int] = {}
        part = GUARANTEED_PART
        self._bounds = Bounds(
            limits.series_per_campaign, limits.series, limits.series // part, limits.campaigns, limits.campaigns // part
        )
        self._guaranteed = 0
        self._columns = SeriesColumns.empty()
        self._seen = Seen(*(np.empty(0, np.int32) for _ in Seen._fields))
        self._arrays = IndexArrays(np.uint64(spread | 1))

    # -- campaigns and organisations ------------------------------------------------------------------------------

    def campaign(self, key: CampaignKey, *, defined: bool = False) -> int:
        """The slot of a campaign, made when it is new."""
        slot = self.campaigns.get(key)
        if slot is None:
            organisation = self._organisation(key.org_id)
            owner = self._arrays.index.organisations[organisation]
            if not defined and key.campaign_id != OTHER and not self._fits(owner):
                return self.campaign(CampaignKey(key.org_id, OTHER))
            slot = self._add_campaign(key, organisation)
            self.new_campaigns.append(slot)
            self._change_unknown(slot, 1)
        if defined and slot not in self.defined:
            self.defined.add(slot)
            self._guarantee(int(self._arrays.index.campaigns[slot]["organisation"]))
            self._change_unknown(slot, -1)
            # Its events may have been folded until now.
            forget(self._arrays.index, self._seen)
        return slot

    def _fits(self, owner: np.void) -> bool:
        used, bounds = self._arrays.index.marks[at.UNKNOWN_USED], self._bounds
        return bool(used < bounds.campaigns or (owner["guaranteed"] and owner["unknown"] < bounds.campaigns_part))

    def _change_unknown(self, slot: int, by: int) -> None:
        """Count one campaign without a definition more, or less."""
        self._arrays.index.marks[at.UNKNOWN_USED] += by
        self._arrays.index.organisations["unknown"][self._arrays.index.campaigns["organisation"][slot]] += by

    def _add_campaign(self, key: CampaignKey, organisation: int) -> int:
        slot = self.campaigns.add(key)
        self._arrays.make_campaign_room(slot)
        self._put_campaign(slot, key, organisation)
        return slot

    def _put_campaign(self, slot: int, key: CampaignKey, organisation: int) -> None:
        """Fill the row of a campaign, for which there is room."""
        name = key.campaign_id.encode()
        start = self._arrays.append_text(name)
        x = self._arrays.index
        x.campaigns[slot] = (campaign_hash(*key), start, len(name), organisation, 0, at.FREE)
        put_campaign(x, slot)
        x.organisations["campaigns"][organisation] += 1
        if key.campaign_id == OTHER:
            x.organisations["other"][organisation] = slot

    def _organisation(self, org_id: str) -> int:
        """The number of an organisation, made when it is new."""
        number = self._organisations.get((org_id,))
        if number is None:
            number = self._organisations.add((org_id,))
            self._arrays.make_organisation_room(number)
            text = org_id.encode()
            start = self._arrays.append_text(text)
            self._arrays.index.organisations[number] = (start, len(text), 0, 0, 0, at.FREE, 0, at.FREE)
            if self._guaranteed < GUARANTEED_PART:
                self._guarantee(number)
        return number

    def _guarantee(self, organisation: int) -> None:
        row = self._arrays.index.organisations[organisation]
        if not row["guaranteed"]:
            row["guaranteed"] = 1
            self._guaranteed += 1

    # -- series ---------------------------------------------------------------------------------------------------

    def slots(self, batch: EventBatch) -> NDArray[np.int32]:
        """The series slot of each row, made in the order of rows; codes of columns seen before are only looked up."""
        self._follow(batch.series)
        codes = np.ascontiguousarray(batch.series_code)
        slots, added = np.empty(len(codes), np.int32), np.empty(len(codes), np.int32)
        self._arrays.index.marks[at.ADDED] = 0
        columns, row = batch.series, 0
        given = Given(columns.series, columns.campaigns, columns.text.ctypes.data)
        while True:
            row, stop = at.look_up(self._arrays.index, self._bounds, self._seen, given, codes, row, slots, added)
            if stop == at.DONE:
                break
            self._stopped(stop, batch.series, int(codes[row]))
        self.new_series = added[: self._arrays.index.marks[at.ADDED]]
        return slots

    def _stopped(self, stop: int, columns: SeriesColumns, code: int) -> None:
        """Do what the kernel cannot: make room, or a campaign or organisation."""
        series = columns.series[code]
        campaign = int(series["campaign"])
        if stop == at.ROOM:
            self._arrays.make_room(int(series["total"]) + at.OTHERS_BYTES)
        elif stop == at.ORGANISATION:
            organisation = int(columns.campaigns["organisation"][campaign])
            self._seen.organisation[organisation] = self._organisation(columns.org_id(organisation))
        else:
            key = CampaignKey(*columns.campaign_key(campaign))
            slot = self.campaign(key)
            self._seen.campaign[campaign] = slot if self.campaigns.key(slot) == key else at.FOLDED - slot

    def _follow(self, columns: SeriesColumns) -> None:
        """Have room for what the codes of the columns stand for; they may have grown, or be others."""
        if columns is not self._columns:
            self._columns = columns
            self._seen = Seen(*(np.empty(0, np.int32) for _ in Seen._fields))
        wanted = (len(columns.series), len(columns.campaigns), len(columns.organisations))
        if any(len(known) < room for known, room in zip(self._seen, wanted, strict=True)):
            self._seen = Seen(
                *(longer(known, room, at.UNKNOWN) for known, room in zip(self._seen, wanted, strict=True))
            )

    def take_new_series(self) -> NDArray[np.int32]:
        """Slots of series made since this was last asked."""
        taken, self.new_series = self.new_series, self.new_series[:0]
        return taken

    @property
    def series_count(self) -> int:
        """How many series there are."""
        return int(self._arrays.index.marks[at.SERIES_USED])

    def campaign_of_series(self, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """The campaign's slot of each series."""
        found: NDArray[np.int32] = self._arrays.index.series["campaign"][slots]
        return found

    def series_of_campaign(self, slot: int) -> int:
        """How many series a campaign has."""
        return int(self._arrays.index.campaigns["series"][slot])

    def series_key(self, slot: int) -> SeriesKey:
        """The series of a slot; for what is rare."""
        starts, lengths = self.places(np.empty(0, np.int32), np.array([slot], np.int32))
        bounds = zip(starts[0].tolist(), lengths[0].tolist(), strict=True)
        return SeriesKey(*(self.text[start : start + length].tobytes().decode() for start, length in bounds))

    def places(
        self, campaigns: NDArray[np.int32], series: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the texts of keys are in `text`: start and length by [key, field of SeriesKey].

        First those of campaigns, whose dimensions are empty, then those of series.
        """
        return self._arrays.places(campaigns, series)

    @property
    def text(self) -> NDArray[np.uint8]:
        """The texts of all keys, with bytes behind them that kernels may load."""
        return self._arrays.text

    # -- forgetting -----------------------------------------------------------------------------------------------

    def free_series(self, slots: NDArray[np.int64]) -> None:
        """Forget series; a batch that names them again makes them anew."""
        if len(slots) > 0:
            free_series(self._arrays.index, slots)
            forget(self._arrays.index, self._seen)
            self._arrays.compact(len(self._organisations.keys), len(self.campaigns.keys))

    def free_campaigns(self, slots: list[int]) -> None:
        """Forget campaigns without series."""
        for slot in slots:
            assert self.series_of_campaign(slot) == 0, "a campaign is freed after its series"
            self._free_campaign(slot)
        if slots:
            forget(self._arrays.index, self._seen)
            self._arrays.compact(len(self._organisations.keys), len(self.campaigns.keys))

    def _free_campaign(self, slot: int) -> None:
        x = self._arrays.index
        row = x.campaigns[slot]
        organisation = int(row["organisation"])
        if slot in self.defined:
            self.defined.discard(slot)
        else:
            self._change_unknown(slot, -1)
        remove_campaign(x, slot)
        x.marks[at.TEXT_DEAD] += int(row["length"])
        row["organisation"] = at.FREE
        self.campaigns.free(slot)
        owner = x.organisations[organisation]
        owner["campaigns"] -= 1
        if owner["other"] == slot:
            owner["other"] = at.FREE
        counted = 0 <= owner["folded"] < at.FOLDED_ORGS_MAX
        if owner["campaigns"] == 0 and not owner["guaranteed"] and not counted:
            x.marks[at.TEXT_DEAD] += int(owner["length"])
            owner["length"] = at.FREE
            self._organisations.free(organisation)

    # -- what was folded ------------------------------------------------------------------------------------------

    @property
    def folded(self) -> dict[str, int]:
        """By organisation: series that were counted under OTHER, each time one was looked up."""
        counts = self._arrays.index.folded.tolist()
        found = {
            key[0]: counts[place]
            for number, key in self._owners()
            if 0 <= (place := int(self._arrays.index.organisations["folded"][number])) < at.FOLDED_ORGS_MAX
        }
        if counts[at.FOLDED_ORGS_MAX]:
            found[OTHER] = found.get(OTHER, 0) + counts[at.FOLDED_ORGS_MAX]
        return found

    def newly_folded(self) -> dict[str, int]:
        """By organisation: what was folded since this was last asked."""
        told, self._folded_told = self._folded_told, self.folded
        return {
            org_id: more for org_id, count in self._folded_told.items() if (more := count - told.get(org_id, 0)) > 0
        }

    # -- snapshot -------------------------------------------------------------------------------------------------

    def snapshot(self, *, copied: bool = True) -> dict[str, Any]:
        """Campaigns, organisations and series; without copies it is good until the next step."""
        rows = self._arrays.index.organisations
        owners = [(key[0], *rows[number][["guaranteed", "folded"]].item()) for number, key in self._owners()]
        return {
            "campaigns": KeptRows((slot, msgspec.msgpack.encode(key)) for slot, key in self.campaigns.used()),
            "campaigns_end": len(self.campaigns.keys),
            "defined": np.array(sorted(self.defined), np.int32),
            "organisations": sorted(owners),
            **self._arrays.snapshot(copied=copied),
        }

    def _owners(self) -> list[tuple[int, tuple[str]]]:
        return self._organisations.used()

    def load(self, snapshot: dict[str, Any]) -> None:
        """Take what a snapshot holds; the registry is new."""
        for org_id, guaranteed, folded in snapshot["organisations"]:
            number = self._organisation(org_id)
            row = self._arrays.index.organisations[number]
            row["guaranteed"], row["folded"] = guaranteed, folded
        self._guaranteed = sum(guaranteed for _, guaranteed, _ in snapshot["organisations"])
        self._arrays.index.folded[:] = snapshot["folded"]
        labels = [folded for _, _, folded in snapshot["organisations"]]
        self._arrays.index.marks[at.FOLDED_END] = max(labels, default=at.FREE) + 1
        self._folded_told = self.folded
        self.defined = set(snapshot["defined"].tolist())
        keys: list[CampaignKey | None] = [None] * snapshot["campaigns_end"]
        for slot, packed in snapshot["campaigns"].items():
            keys[slot] = msgspec.msgpack.decode(packed, type=CampaignKey)
        self._load_campaigns(keys)
        self._arrays.load_series(snapshot)

    def _load_campaigns(self, keys: list[CampaignKey | None]) -> None:
        self.campaigns.load(keys)
        self._arrays.clear_campaigns(len(keys))
        for slot, key in self.campaigns.used():
            self._put_campaign(slot, key, self._organisation(key.org_id))
            if slot not in self.defined:
                self._change_unknown(slot, 1)
