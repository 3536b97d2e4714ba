"""Another number of shards, or of partitions: campaigns move from the shards there were to those that are to be.

A campaign moves with all that is known of it, so it goes on as if nothing had happened. What several shards knew apart
of one organisation's campaigns without room (`~other`) is added up. Ids of events cannot be told apart by campaign, so
a new shard takes over those of every shard and home partition that one of its campaigns may come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns import series_slots
from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.registry import CampaignKey, Limits
from flows.logic.campaigns.reshard_ids import Sources, join_correction_ids, join_ids
from flows.logic.campaigns.reshard_windows import MadeArrays, Moved, Owners, arrays_of
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.kept import KeptRows
from flows.logic.routing import campaign_shard_of
from flows.logic.windows import layout as at
from schemas.batch import SERIES, SeriesKey, runs
from schemas.topics import partition_of

FREE: Final = at.FREE
_PERIODS: Final = (
    ("spent_day_before", "day_before_start_ms"),
    ("spent_day", "day_start_ms"),
    ("spent_day_after", "day_end_ms"),
    ("spent_week_before", "week_before_start_ms"),
    ("spent_week", "week_start_ms"),
    ("spent_week_after", "week_end_ms"),
)


class Slots(NamedTuple):
    """By the slots of an old shard: the new shard's, FREE for what goes elsewhere."""

    campaign: NDArray[np.int32]
    series: NDArray[np.int32]


@dataclass(slots=True)
class _Plan:
    """What moves into a new shard, and the slots that it gets there."""

    campaigns: dict[CampaignKey, int]
    # By old shard.
    slots: list[Slots]
    series: int


def reshard(
    old: Sequence[CampaignShard], shard: int, shards: int, duplicates: Duplicates, *, limits: Limits | None = None
) -> CampaignShard:
    """Shard `shard` of `shards`, made from all that there were, which stay as they are.

    `duplicates` is empty; it has the number of partitions and of ids from now on.
    """
    states = [one.snapshot(copied=False, with_ids=False) for one in old]
    plan, partitions = _plan(old, shard, shards), duplicates.partitions
    before = _joined_ticks([state["ticks"] for state in states])
    after = _ticks(before, old[0].partitions, partitions)
    sources = Sources(len(old), old[0].partitions, shard, shards, partitions)
    arrays = _arrays([state["arrays"] for state in states], plan)
    state = {
        "arrays": arrays.rows,
        "registry": _registry([state["registry"] for state in states], plan),
        "standings": _moved_rows([state["standings"] for state in states], plan),
        "bidding": _moved_rows([state["bidding"] for state in states], plan),
        "ticks": after,
        "words": _words([state["words"] for state in states], plan),
        "ids": {},
        "corrections": {
            "ids": join_correction_ids([state["corrections"]["ids"] for state in states], sources),
            **_revisions([state["corrections"] for state in states], arrays),
        },
    }
    made = CampaignShard.restore(state, shard, shards, partitions, limits, duplicates)
    join_ids([one.duplicates for one in old], sources, duplicates)
    if partitions != old[0].partitions:
        _follow_clocks(made, old[0].partitions, before.clock_ms, after.clock_ms)
    return made


# -- slots ----------------------------------------------------------------------------------------------------------


def _plan(old: Sequence[CampaignShard], shard: int, shards: int) -> _Plan:
    """New slots: those of one old shard after those of the one before, in their order."""
    campaigns: dict[CampaignKey, int] = {}
    slots: list[Slots] = []
    # Series of campaigns that more than one old shard has.
    shared: dict[SeriesKey, int] = {}
    found = 0
    twice = _known_twice(old)
    for one in old:
        moved = np.full(one.arrays.campaigns, FREE, np.int32)
        for slot, key in one.registry.campaigns.used():
            if campaign_shard_of(key.org_id, key.campaign_id, shards) == shard:
                moved[slot] = campaigns.setdefault(key, len(campaigns))
        owner = one.arrays.series_used()["campaign"]
        series = np.full(len(owner), FREE, np.int32)
        mine = np.flatnonzero((owner >= 0) & (moved[owner] >= 0))
        series[mine] = found + np.arange(len(mine))
        found += len(mine)
        apart = [s for key in twice if (s := one.registry.campaigns.get(key)) is not None and moved[s] >= 0]
        for of_shared in np.flatnonzero(np.isin(owner, apart)).tolist():
            series[of_shared] = shared.setdefault(one.registry.series_key(of_shared), int(series[of_shared]))
        slots.append(Slots(moved, series))
    return _without_gaps(_Plan(campaigns, slots, found))


def _known_twice(old: Sequence[CampaignShard]) -> list[CampaignKey]:
    """Campaigns that more than one shard has: those that stand for others."""
    seen: dict[CampaignKey, int] = {}
    for one in old:
        for _, key in one.registry.campaigns.used():
            seen[key] = seen.get(key, 0) + 1
    return [key for key, times in seen.items() if times > 1]


def _without_gaps(plan: _Plan) -> _Plan:
    """Slots of series that were found to be others' are not left free."""
    used = np.zeros(plan.series, np.bool_)
    for slots in plan.slots:
        used[slots.series[slots.series >= 0]] = True
    # FREE is the last place.
    number = np.append(np.cumsum(used) - 1, FREE).astype(np.int32)
    closed = [Slots(slots.campaign, number[slots.series]) for slots in plan.slots]
    return _Plan(plan.campaigns, closed, int(used.sum()))


def _moved_rows(rows_of: list[KeptRows], plan: _Plan) -> KeptRows:
    """Rows by slot, of those campaigns that move here."""
    return KeptRows(
        (int(slots.campaign[slot]), packed)
        for rows, slots in zip(rows_of, plan.slots, strict=True)
        for slot, packed in rows.items()
        if slots.campaign[slot] >= 0
    )


# -- campaigns, series and their windows ----------------------------------------------------------------------------


def _arrays(arrays: list[dict[str, NDArray[Any]]], plan: _Plan) -> MadeArrays:
    """The arrays of the new shard as in a snapshot."""
    camp = np.zeros(len(plan.campaigns), at.CAMPAIGN)
    series = np.full(plan.series, FREE, at.SERIES_ROW)
    taken = np.zeros(len(camp), np.bool_)
    moved = []
    for one, slots in zip(arrays, plan.slots, strict=True):
        rows = one["camp"]
        for slot in np.flatnonzero(slots.campaign >= 0).tolist():
            new = int(slots.campaign[slot])
            camp[new] = _joined(camp[new], rows[slot]) if taken[new] else rows[slot]
            taken[new] = True
        mine = np.flatnonzero(slots.series >= 0)
        series["campaign"][slots.series[mine]] = slots.campaign[one["series"]["campaign"][mine]]
        moved.append(Moved(one, slots.campaign, slots.series))
    return arrays_of(moved, Owners(camp, series))


def _words(words: list[NDArray[np.void]], plan: _Plan) -> NDArray[np.void]:
    """By slot what was last said of a campaign to bidders."""
    made = np.zeros(len(plan.campaigns), words[0].dtype)
    for rows, slots in zip(words, plan.slots, strict=True):
        mine = np.flatnonzero(slots.campaign >= 0)
        made[slots.campaign[mine]] = rows[mine]
    return made


def _revisions(corrections: list[dict[str, Any]], arrays: MadeArrays) -> dict[str, Any]:
    """By how much versions of windows are ahead of the events in them."""
    revisions = np.zeros(len(arrays.rows["meta"]), np.int64)
    for one, number in zip(corrections, arrays.number, strict=True):
        window = number[one["windows"]]
        np.add.at(revisions, window[window >= 0], one["revisions"][window >= 0])
    windows = np.flatnonzero(revisions)
    return {"windows": windows, "revisions": revisions[windows], "any": any(one["any"] for one in corrections)}


def _joined(one: np.void, other: np.void) -> np.void:
    """The row of a campaign that two shards had: nobody has defined it, so it has neither budgets nor decisions."""
    ahead, behind = (one, other) if one["watermark_ms"] >= other["watermark_ms"] else (other, one)
    row = ahead.copy()
    row["spent_total"] += behind["spent_total"]
    for spent, start in _PERIODS:
        if ahead[start] == behind[start]:
            row[spent] += behind[spent]
    row["seen"] |= behind["seen"]
    row["sequence"] = max(one["sequence"], other["sequence"])
    row["state"] = min(one["state"], other["state"])
    return row


# -- names ----------------------------------------------------------------------------------------------------------


def _registry(parts: list[dict[str, Any]], plan: _Plan) -> dict[str, Any]:
    """The names of the new shard as in a snapshot. What was folded is counted anew, as after any start."""
    rows, text = _names(parts, plan)
    defined = {
        int(slots.campaign[slot])
        for part, slots in zip(parts, plan.slots, strict=True)
        for slot in part["defined"].tolist()
        if slots.campaign[slot] >= 0
    }
    return {
        "campaigns": KeptRows((slot, msgspec.msgpack.encode(key)) for key, slot in plan.campaigns.items()),
        "campaigns_end": len(plan.campaigns),
        "defined": np.array(sorted(defined), np.int32),
        "organisations": _organisations(parts, plan),
        "series": rows,
        "free": np.empty(0, np.int32),
        "text": text,
        "folded": np.zeros(series_slots.FOLDED_ORGS_MAX + 1, np.int64),
    }


def _names(parts: list[dict[str, Any]], plan: _Plan) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
    """The rows of series, and the run of texts of those that have their own, behind room for what stands for others."""
    rows = np.zeros(plan.series, SERIES)
    places = np.zeros(plan.series, np.int64)
    before = 0
    for part, slots in zip(parts, plan.slots, strict=True):
        kept = part["series"]
        mine = np.flatnonzero(slots.series[: len(kept)] >= 0)
        new = slots.series[mine]
        rows[new], places[new] = kept[mine], before + kept["start"][mine]
        rows["campaign"][new] = slots.campaign[kept["campaign"][mine]]
        before += len(part["text"])
    named = np.flatnonzero(rows["start"] > 0)
    totals = rows["total"][named].astype(np.int64)
    rows["start"][named] = series_slots.OTHERS_BYTES + np.cumsum(totals) - totals
    texts = np.concatenate([part["text"] for part in parts])[runs(places[named], totals)]
    return rows, np.concatenate([np.zeros(series_slots.OTHERS_BYTES, np.uint8), texts])


def _organisations(parts: list[dict[str, Any]], plan: _Plan) -> list[tuple[str, int, int]]:
    """Organisations of the campaigns here, and whether each has a guaranteed part of the bounds."""
    guaranteed = {key.org_id: 0 for key in plan.campaigns}
    for part in parts:
        for org_id, has_part, _ in part["organisations"]:
            if org_id in guaranteed:
                guaranteed[org_id] |= has_part
    return [(org_id, has_part, FREE) for org_id, has_part in sorted(guaranteed.items())]


# -- clocks ---------------------------------------------------------------------------------------------------------


class Ticks(NamedTuple):
    """By partition: the clock at its last tick, and how many there were."""

    clock_ms: dict[int, int]
    times: dict[int, int]


def _joined_ticks(ticks: list[tuple[dict[int, int], dict[int, int]]]) -> Ticks:
    """What shards know of the ticks that each of them was told."""
    joined = Ticks({}, {})
    for one in ticks:
        for mine, theirs in zip(joined, one, strict=True):
            for partition, value in theirs.items():
                mine[partition] = max(value, mine.get(partition, value))
    return joined


def _ticks(ticks: Ticks, before: int, partitions: int) -> Ticks:
    """Of so many partitions: one that is new has had no tick, and its clock shows what the furthest one does."""
    clock_ms = {partition: shown for partition, shown in ticks.clock_ms.items() if partition < partitions}
    if ticks.clock_ms:
        clock_ms |= {partition: max(ticks.clock_ms.values()) for partition in range(before, partitions)}
    return Ticks(clock_ms, {partition: ticks.times.get(partition, -1) for partition in clock_ms})


def _follow_clocks(made: CampaignShard, before: int, was_ms: dict[int, int], is_ms: dict[int, int]) -> None:
    """A campaign whose home is another partition now goes on from that one's clock: no time is lost on the way."""
    for slot, key in made.registry.campaigns.used():
        row, home = made.arrays.campaign(slot), partition_of(key.campaign_id, before)
        if row["seen"] and home in was_ms and int(row["home"]) in is_ms:
            row["behind_ms"] += max(0, is_ms[int(row["home"])] - was_ms[home])
