"""Which events of a span are new, whatever partition they come in, and how spans are split by shard."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.logic.campaigns.duplicates import ORGANISATIONS_MAX, Duplicates
from flows.logic.routing import CampaignRoutes, Homes, campaign_shard_of
from flows.logic.step import Step
from schemas.batch import EventBatch
from schemas.topics import partition_of
from tests.flows.logic.stream import Ev, Flow, Tick, batch_of, definition, hashed, steps_of
from tests.flows.logic.test_registry import of_org

T0 = 1_790_000_000_000


def batch(*keys: int, campaign: str = "a") -> EventBatch:
    return batch_of([(10 * place, Ev(key, T0, campaign)) for place, key in enumerate(keys)])


def test_the_first_of_an_id_wins_within_a_batch_and_across_batches() -> None:
    duplicates = Duplicates(1, 1_024)
    first, positions = duplicates.without(batch(1, 1, 2), 0)
    assert (first.position.tolist(), positions) == ([0, 20], [10])
    second, positions = duplicates.without(batch(2, 3), 0)
    assert (second.position.tolist(), positions) == ([10], [0])


def test_nothing_is_copied_where_there_is_no_duplicate() -> None:
    whole = batch(1, 2, 3)
    assert Duplicates(1, 1_024).without(whole, 0)[0] is whole


def test_one_id_under_two_campaigns_is_two_events() -> None:
    duplicates = Duplicates(1, 1_024)
    assert duplicates.without(batch(1), 0)[1] == []
    assert duplicates.without(batch(1, campaign="b"), 0)[1] == []
    assert duplicates.without(batch(1, campaign="b"), 0)[1] == [0]


def test_an_event_that_comes_again_in_another_partition_is_known() -> None:
    duplicates = Duplicates(4, 1_024)
    assert duplicates.without(batch(1, 2), partition_of("a", 4))[1] == []
    for partition in range(4):
        assert duplicates.without(batch(1, 2), partition)[1] == [0, 10]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 30), max_size=9)), max_size=20),
    st.permutations(range(20)),
)
def test_what_is_a_duplicate_does_not_hang_on_how_partitions_take_turns(
    spans: list[tuple[int, list[int]]], turns: list[int]
) -> None:
    """Also at the edge of what is remembered. A replay reads partitions in another order than the run did."""
    by_partition = [(partition, [Ev(key, T0, f"p{partition}") for key in keys]) for partition, keys in spans]
    in_turn = sorted(range(len(spans)), key=lambda number: (turns[spans[number][0]], number))
    orders = (range(len(spans)), in_turn)
    assert found(by_partition, orders[0]) == found(by_partition, orders[1])


def found(spans: list[tuple[int, list[Ev]]], order: range | list[int]) -> dict[int, list[int]]:
    duplicates = Duplicates(4, 40)
    # Campaigns whose home is the partition that they come in.
    home = {number: next(f"c{k}" for k in range(99) if partition_of(f"c{k}", 4) == number) for number in range(4)}
    told = {}
    for number in order:
        partition, events = spans[number]
        if events:
            own = [(10 * k, replace(event, campaign=home[partition])) for k, event in enumerate(events)]
            told[number] = duplicates.without(batch_of(own), partition)[1]
    return told


def test_homes_and_shards_are_those_of_the_campaigns() -> None:
    events = [Ev(k, T0, f"c{k % 17}ä") for k in range(200)]
    many = batch_of(list(enumerate(events)))
    assert Homes(5).of(many).tolist() == [partition_of(event.campaign, 5) for event in events]
    assert CampaignRoutes(7).of(many).tolist() == [campaign_shard_of("o", event.campaign, 7) for event in events]


def test_every_row_and_record_goes_to_just_one_shard() -> None:
    events = [(10 * k, Ev(k, T0, f"c{k % 11}", f"x{k % 5}")) for k in range(60)]
    step = Step(0, 0, 600, 0, 0, batch=batch_of(events), control=[definition(f"c{k}") for k in range(11)], dead=[7])
    parts = CampaignRoutes(3).split(step)
    rows = [
        (position, part.batch.series.key(code).campaign_id, shard)
        for shard, part in enumerate(parts)
        if part.batch is not None
        for position, code in zip(part.batch.position.tolist(), part.batch.series_code.tolist(), strict=True)
    ]
    assert sorted(position for position, _, _ in rows) == [10 * k for k in range(60)]
    assert len({(campaign, shard) for _, campaign, shard in rows}) == 11
    assert all(shard == campaign_shard_of("o", campaign, 3) for _, campaign, shard in rows)
    assert sorted(r.campaign_id for part in parts for r in part.control) == sorted(f"c{k}" for k in range(11))
    assert [part.dead for part in parts] == [[7], [], []]


def test_with_one_shard_nothing_is_split() -> None:
    step = Step(0, 0, 20, 0, 0, batch=batch(1, 2))
    assert CampaignRoutes(1).split(step)[0] is step


def test_a_flood_of_one_organisation_does_not_push_out_the_ids_of_another() -> None:
    duplicates = Duplicates(1, 1_000)
    quiet = of_org("quiet", batch(*range(50)))
    duplicates.without(quiet, 0)
    for first in range(0, 9_000, 100):
        duplicates.without(of_org("loud", batch(*range(first, first + 100))), 0)
    assert len(duplicates.without(of_org("quiet", batch(*range(50))), 0)[1]) == 50


def test_organisations_beyond_the_bound_share_a_memory() -> None:
    duplicates = Duplicates(1, 100_000)
    for number in range(ORGANISATIONS_MAX + 20):
        duplicates.without(of_org(f"org-{number}", batch(1)), 0)
    assert len(duplicates.memory(0).organisations) == ORGANISATIONS_MAX
    assert len(duplicates.without(of_org(f"org-{ORGANISATIONS_MAX + 5}", batch(1)), 0)[1]) == 1


def test_a_restart_remembers_and_makes_nothing_of_the_order_of_organisations() -> None:
    items = [Tick(T0, (definition(),)), *(Ev(k, T0) for k in range(40)), *(Ev(k, T0) for k in range(20))]
    steps = steps_of(list(items), 7, T0)
    assert Flow().run(steps[:6]).restart().run(steps[6:]).duplicates() == Flow().run(steps).duplicates()
    duplicates = Duplicates(1, 1_000)
    for org in ("b", "a"):
        duplicates.without(of_org(org, batch(*range(9))), 0)
    again = Duplicates(1, 1_000)
    again.load(pickle.loads(pickle.dumps(duplicates.snapshot())))
    for org in ("a", "b", "c"):
        assert len(again.without(of_org(org, batch(*range(10))), 0)[1]) == (0 if org == "c" else 9)
    assert again.memory(0).organisations == ["b", "a", "c"]


def test_a_memory_of_a_partition_has_its_part_of_the_bound() -> None:
    duplicates = Duplicates(4, 400)
    many = batch(*range(1_000))
    many.event_hash = np.array([hashed(k) for k in range(1_000)], np.uint64)
    duplicates.without(many, partition_of("a", 4))
    assert len(duplicates.memory(partition_of("a", 4)).seen) == 100
