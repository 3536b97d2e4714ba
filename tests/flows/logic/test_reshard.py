"""Another number of shards changes nothing that is said of any campaign."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.logic.campaigns.duplicates import ORGANISATIONS_MAX
from flows.logic.campaigns.registry import OTHER, CampaignKey, Limits
from flows.logic.campaigns.reshard_windows import TooLargeError
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.routing import campaign_shard_of
from flows.logic.step import Step
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from flows.snapshots.parts import taken_apart
from schemas.batch import SeriesKey
from schemas.topics import partition_of
from tests.flows.logic.fleet import T0, Event, Fleet, History, Seen, batch_of

some = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(seed: int, first: int, later: list[int], rounds: int = 40, partitions: int = 2) -> Fleet:
    """Feed a history to shards that stay and to shards that change their number, and hold each step together."""
    history = History(seed, partitions)
    stays, changes = Fleet(first, partitions), Fleet(first, partitions)
    for shards in [first, *later]:
        for number in range(rounds):
            for place, step in enumerate(history.steps()):
                expected = stays.feed(step)
                assert changes.feed(step) == expected, f"round {number} with {shards} shards"
                history.learn(expected)
                # Between events and the tick that adds up what they left to be done.
                if (number, place) == (0, 0):
                    changes.reshard(shards)
    assert changes.drain() == stays.drain()
    assert changes.every_key() == stays.every_key()
    return changes


@pytest.mark.parametrize("later", [[3], [3, 2], [3, 1], [1], [2, 4, 3]], ids=str)
def test_shards_that_change_their_number_say_what_shards_say_that_never_do(later: list[int]) -> None:
    compare(7, 1, later)


@some
@given(st.integers(0, 2**32), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_whatever_the_history_and_the_numbers(seed: int, first: int, later: list[int]) -> None:
    compare(seed, first, later, rounds=12)


def fed(fleet: Fleet, events: list[Event], now_ms: int = T0) -> Seen:
    """What comes of events in the partitions of their campaigns, and of a tick of each."""
    told: Seen = ({}, [], [], 0)
    for partition in range(fleet.partitions):
        mine = [e for e in events if partition_of(e.series.campaign_id, fleet.partitions) == partition]
        rows = [(number, event) for number, event in enumerate(mine)]
        steps = [Step(partition, 0, len(rows), now_ms, now_ms, batch=batch_of(rows))] if rows else []
        for step in [*steps, Step(partition, len(rows), len(rows), now_ms, now_ms, tick=True)]:
            found = fleet.feed(step)
            told = (told[0] | found[0], told[1] + found[1], told[2] + found[2], told[3] + found[3])
    return told


def event(number: int, campaign: str, org: str = "o1", ts_ms: int = T0, actor: int = 1) -> Event:
    return Event(number, ts_ms, SeriesKey(org, campaign, "", "", "", ""), cost=5, actor=actor)


def test_who_is_met_after_it_counts_in_every_window_that_was_open() -> None:
    stays, changes = Fleet(1), Fleet(1)
    for fleet in (stays, changes):
        fed(fleet, [event(k, f"c{k % 9}", actor=k) for k in range(90)])
    changes.reshard(3)
    more = [event(100 + k, f"c{k % 9}", actor=100 + k) for k in range(90)]
    assert fed(changes, more, T0 + 1_000) == fed(stays, more, T0 + 1_000)
    found = stays.drain()
    assert {row[7] for rows in found[0].values() for row in rows} >= {"1h", "day"}
    assert changes.drain() == found


def totals(seen: Seen, campaign: str) -> set[tuple[int, int, int]]:
    """(impressions, spend, reach) of the rows of a campaign's day."""
    rows = seen[0].get(CampaignKey("o1", campaign), [])
    return {
        (row[12], row[16], row[18])
        for row in rows
        if isinstance(row, tuple) and row[2] == "campaign" and row[7] == "day"
    }


@pytest.mark.parametrize("people", [20, 4_000], ids=["sparse sketches", "dense sketches"])
def test_what_shards_counted_apart_of_campaigns_without_room_is_added_up(people: int) -> None:
    fleet = Fleet(3, 1, limits=Limits(campaigns=1))
    events = [event(k, f"made-up-{k % 30}", actor=k % people) for k in range(people)]
    fed(fleet, events)
    before = [shard.registry.campaigns.get(CampaignKey("o1", OTHER)) is not None for shard in fleet.campaigns]
    assert before == [True] * 3, "each shard has folded some"
    own = fleet.every_key() - {CampaignKey("o1", OTHER)}
    fleet.reshard(1)
    shard = fleet.campaigns[0]
    slot = shard.registry.campaigns.get(CampaignKey("o1", OTHER))
    assert slot is not None
    folded = sum(CampaignKey("o1", one.series.campaign_id) not in own for one in events)
    assert shard.arrays.campaign(slot)["spent_total"] == 5 * folded
    seen = fed(fleet, [event(people + 1, OTHER, actor=0)], T0 + 1_000)
    drained = fleet.drain()
    [(impressions, spend, reach)] = totals(drained, OTHER) or totals(seen, OTHER)
    assert (impressions, spend) == (folded + 1, 5 * (folded + 1))
    met = len({one.actor for one in events if CampaignKey("o1", one.series.campaign_id) not in own} | {0})
    assert reach == pytest.approx(met, rel=0.1)
    assert compare_lists(shard.arrays)


def compare_lists(arrays: Arrays) -> bool:
    """Whether every window is in the list of its owner, once."""
    s, found = arrays.state, []
    for heads in (s.camp_heads[: arrays.campaigns], s.series_heads[: arrays.series]):
        for window in heads.ravel().tolist():
            while window >= 0:
                found.append(window)
                window = int(at.columns(s.meta)[window]["next"])
    kinds = at.columns(s.meta)[: int(arrays.header["windows_end"])]["kind"]
    return sorted(found) == np.flatnonzero((kinds >= 0) & (kinds != at.TOTAL)).tolist()


@pytest.mark.parametrize(("first", "later"), [(1, [3, 1]), (3, [1]), (2, [4, 3, 1]), (1, [2])])
def test_an_event_that_comes_again_is_known_in_whatever_shard_it_is(first: int, later: list[int]) -> None:
    fleet = Fleet(first)
    events = [event(k, f"c{k % 40}", org) for k in range(400) for org in ("o1", "o2")]
    fed(fleet, events)
    for shards in later:
        fleet.reshard(shards)
        assert len(fed(fleet, events)[1]) == len(events)


def test_of_shards_that_become_one_each_keeps_its_newest_ids() -> None:
    fleet = Fleet(2, 1, dedupe_ids=1_024)
    campaigns = [next(f"c{k}" for k in range(99) if campaign_shard_of("o1", f"c{k}", 2) == shard) for shard in (0, 1)]
    events = {campaign: [event(k, campaign) for k in range(1_024)] for campaign in campaigns}
    for some in events.values():
        fed(fleet, some)
    fleet.reshard(1)
    for some in events.values():
        # In this order none that comes again pushes one out.
        assert len(fed(fleet, some[-512:])[1]) == 512
        assert len(fleet.campaigns[0].duplicates.memory(0).seen) == 1_024


def test_organisations_that_shared_a_memory_are_known_when_it_is_joined_with_another() -> None:
    fleet = Fleet(2, 1, dedupe_ids=100_000)
    home = {f"org-{k}": next(f"c{n}" for n in range(99) if campaign_shard_of(f"org-{k}", f"c{n}", 2) == k % 3 // 2)
            for k in range(2_000)}  # fmt: skip
    events = [event(1, campaign, org) for org, campaign in home.items()]
    fed(fleet, events)
    counts = [len(shard.duplicates.memory(0).organisations) for shard in fleet.campaigns]
    assert counts == [ORGANISATIONS_MAX, 666]
    # One that has a number of its own where it is not full, and none where it is.
    both = event(2, next(f"c{n}" for n in range(99) if campaign_shard_of("org-1999", f"c{n}", 2) == 1), "org-1999")
    fed(fleet, [both])
    fleet.reshard(1)
    assert len(fed(fleet, [*events, both])[1]) == 2_001
    assert len(fleet.campaigns[0].duplicates.memory(0).organisations) == ORGANISATIONS_MAX


@pytest.mark.parametrize(("before", "after"), [(2, 4), (2, 3), (4, 2), (1, 5)])
def test_with_another_number_of_partitions_nothing_is_lost(before: int, after: int) -> None:
    fleet = Fleet(2, before)
    events = [event(k, f"c{k % 20}") for k in range(400)]
    fed(fleet, events)
    fed(fleet, [], T0 + 5_000)
    watermarks = {key: mark for shard in fleet.campaigns for key, mark in marks(shard)}
    fleet.reshard(3, after)
    assert {key: mark for shard in fleet.campaigns for key, mark in marks(shard)} == watermarks
    for shard in fleet.campaigns:
        for slot, key in shard.registry.campaigns.used():
            assert shard.arrays.campaign(slot)["home"] == partition_of(key.campaign_id, after)
    assert len(fed(fleet, events, T0 + 5_000)[1]) == 400
    # Five seconds without a tick, whose time is not lost.
    fed(fleet, [], T0 + 10_000)
    assert {mark - watermarks[key] for shard in fleet.campaigns for key, mark in marks(shard)} == {5_000}
    fed(fleet, [event(1_000 + k, f"c{k}", ts_ms=T0 + 9_000) for k in range(20)], T0 + 11_000)
    rows = [shard.arrays.campaigns_used() for shard in fleet.campaigns]
    assert {spent for row in rows for spent in row["spent_total"].tolist()} == {105}


def marks(shard: CampaignShard) -> list[tuple[CampaignKey, int]]:
    """The clocks of campaigns."""
    return [(key, shard.bidding.clock_ms(slot)) for slot, key in shard.registry.campaigns.used()]


def test_a_shard_that_would_not_fit_is_refused_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.logic.campaigns.reshard_windows.BLOCKS_MAX", 20)
    fleet = Fleet(3)
    fed(fleet, [event(k, f"c{k}", actor=k) for k in range(40)])
    with pytest.raises(TooLargeError, match="take more shards"):
        fleet.reshard(1)


def test_a_shard_may_get_no_campaign_at_all() -> None:
    fleet = Fleet(1)
    fed(fleet, [event(1, "c1"), event(2, "c1")])
    fleet.reshard(4)
    assert sorted(len(shard.registry.campaigns) for shard in fleet.campaigns) == [0, 0, 0, 1]
    fleet.reshard(1)
    assert totals(fed(fleet, [event(3, "c1")]), "c1") | totals(fleet.drain(), "c1") == {(3, 15, 1)}


def test_the_old_shards_stay_as_they_are() -> None:
    fleet = Fleet(2)
    fed(fleet, [event(k, f"c{k}", actor=k) for k in range(40)])
    old, before = fleet.campaigns, [all_of(shard) for shard in fleet.campaigns]
    fleet.reshard(3)
    assert [all_of(shard) for shard in old] == before


def all_of(shard: CampaignShard) -> tuple[object, ...]:
    """The state of a shard, to compare."""
    parts = taken_apart(shard.snapshot())
    return {name: repr(table.tolist()) for name, table in parts.tables.items()}, parts.rows, parts.rest
