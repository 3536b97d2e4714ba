"""Dedupe and the two splits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.logic.dedupe import SeenIds
from flows.logic.event_shard import EventShard, split_batch
from flows.logic.step import Step
from schemas.batch import EventBatch
from tests.flows.logic.stream import Ev, batch_of, definition, hashed
from tests.support.series import series_of

T0 = 1_790_000_000_000


def ids_of(keys: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    table = rng.integers(1, 2**63, (max(keys, default=0) + 1, 2)).astype(np.uint64)
    return table[keys, 0], table[keys, 1]


def step_of(events: list[Ev], **fields: object) -> Step:
    batch = batch_of([(10 * k, event) for k, event in enumerate(events)])
    return Step(0, 0, 10 * len(events), 0, 0, batch=batch, **fields)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=8), st.integers(4, 30))
def test_an_id_among_the_last_ones_is_known_and_one_from_long_ago_is_not(parts: list[list[int]], ids_max: int) -> None:
    seen = SeenIds(ids_max)
    accepted: list[int] = []
    for keys in parts:
        hi, lo = ids_of([*keys, 60])
        for key, new in zip(keys, seen.mark_new(hi[:-1], lo[:-1]).tolist(), strict=True):
            if new:
                assert key not in accepted[-ids_max:]
                accepted.append(key)
            else:
                assert key in accepted[-2 * ids_max :]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=150), st.integers(0, 150), st.integers(8, 64))
def test_a_restored_memory_answers_like_the_one_it_was_taken_from(keys: list[int], cut: int, ids_max: int) -> None:
    hi, lo = ids_of([*keys, 200])
    hi, lo = hi[:-1], lo[:-1]
    straight, other = SeenIds(ids_max), SeenIds(ids_max)
    straight.mark_new(hi[:cut], lo[:cut])
    other.mark_new(hi[:cut], lo[:cut])
    restored = SeenIds.restore(other.snapshot(), ids_max)
    assert straight.mark_new(hi[cut:], lo[cut:]).tolist() == restored.mark_new(hi[cut:], lo[cut:]).tolist()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 120)), max_size=300),
    st.integers(3, 70),
    st.lists(st.integers(0, 300), max_size=6),
    st.integers(0, 5),
)
def test_neither_cuts_nor_restarts_change_what_is_a_duplicate(
    rows: list[tuple[int, int]], ids_max: int, cuts: list[int], restart: int
) -> None:
    owner = np.array([one for one, _ in rows], np.int32)
    hi, lo = ids_of([*(1 + key + 200 * one for one, key in rows), 700])
    hi, lo = hi[:-1], lo[:-1]
    whole = SeenIds(ids_max).mark_new(hi, lo, owner).tolist()
    seen, found, begin = SeenIds(ids_max), [], 0
    for number, end in enumerate([*sorted(cuts), len(rows)]):
        found += seen.mark_new(hi[begin:end], lo[begin:end], owner[begin:end]).tolist()
        begin = max(begin, end)
        if number == restart:
            seen = SeenIds.restore(seen.snapshot(), ids_max)
    assert found == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=400), st.integers(6, 60))
def test_of_three_organisations_each_has_a_third_of_the_memory_whatever_the_others_send(
    rows: list[tuple[int, int]], ids_max: int
) -> None:
    seen = SeenIds(ids_max)
    accepted: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for one, key in rows:
        hi, lo = ids_of([1 + key + 200 * one, 700])
        [new] = seen.mark_new(hi[:1], lo[:1], np.array([one], np.int32)).tolist()
        if new:
            assert key not in accepted[one][-(ids_max // 3) :]
            accepted[one].append(key)
    assert sum(len(ids) for generations in seen.snapshot() for ids in generations) <= 2 * ids_max


def test_a_flood_of_one_organisation_does_not_push_out_the_ids_of_another() -> None:
    quiet, loud = ([(k, Ev(number, T0)) for k, number in enumerate(numbers)] for numbers in (range(50), range(9_000)))
    shard = EventShard(0, 1, 1_000)
    shard.step(Step(0, 0, 1, 0, 0, batch=owned("quiet", quiet)))
    for first in range(0, len(loud), 100):
        shard.step(Step(0, 0, 1, 0, 0, batch=owned("loud", loud[first : first + 100])))
    [again] = shard.step(Step(0, 0, 1, 0, 0, batch=owned("quiet", quiet)))
    assert len(again.duplicates) == 50


def owned(org_id: str, events: list[tuple[int, Ev]]) -> EventBatch:
    """A batch of one organisation; its ids are its own, as hashes of organisation and id are."""
    batch = batch_of(events)
    batch.id_hi = batch.id_hi ^ np.uint64(hashed(org_id))
    batch.series = series_of([key._replace(org_id=org_id) for key in batch.series.every_key()])
    return batch


def test_ids_that_differ_only_in_their_upper_or_lower_half_are_two() -> None:
    hi, lo = np.array([1, 2, 1, 1], np.uint64), np.array([5, 5, 6, 5], np.uint64)
    assert SeenIds(16).mark_new(hi, lo).tolist() == [True, True, True, False]


def test_a_million_ids_snapshot_to_sixteen_bytes_each() -> None:
    rng = np.random.default_rng(3)
    hi, lo = rng.integers(0, 2**63, (2, 1_000_000)).astype(np.uint64)
    seen = SeenIds(4_194_304)
    assert seen.mark_new(hi, lo).all()
    snapshot = seen.snapshot()
    assert sum(array.nbytes for generations in snapshot for array in generations) == 16_000_000
    assert not SeenIds.restore(snapshot, 4_194_304).mark_new(hi, lo).any()


def test_the_first_of_an_id_wins_within_a_batch_and_across_batches() -> None:
    shard = EventShard(0, 1, 1_024)
    [first] = shard.step(step_of([Ev(1, 100), Ev(1, 200), Ev(2, 300)]))
    [second] = shard.step(step_of([Ev(2, 400), Ev(3, 500)]))
    assert first.batch is not None
    assert first.batch.ts_ms.tolist() == [100, 300]
    assert (first.duplicates, second.duplicates) == ([10], [0])


def test_nothing_is_copied_where_one_shard_finds_no_duplicate() -> None:
    step = step_of([Ev(1, 100), Ev(2, 200)])
    [part] = split_batch(step, 1)
    [onward] = EventShard(0, 1, 1_024).step(part)
    assert onward.batch is step.batch


def test_every_row_and_record_goes_to_just_one_campaign_shard() -> None:
    events = [Ev(k % 40, 1_000 + k, f"c{k % 11}", f"x{k % 5}") for k in range(60)]
    step = step_of(events, control=[definition(f"c{k}") for k in range(11)], dead=[7])
    shards = [EventShard(k, 3, 1_024) for k in range(3)]
    parts = split_batch(step, 3)
    onward = [shard.step(part) for shard, part in zip(shards, parts, strict=True)]
    rows = [
        (int(position), part.batch.series.key(code).campaign_id, target)
        for steps in onward
        for target, part in enumerate(steps)
        if part.batch is not None
        for position, code in zip(part.batch.position, part.batch.series_code, strict=True)
    ]
    assert sorted(position for position, _, _ in rows) == [10 * k for k in range(40)]
    assert len({(campaign, target) for _, campaign, target in rows}) == 11
    flat = [part for steps in onward for part in steps]
    assert len(flat) == 9
    assert sorted(r.campaign_id for part in flat for r in part.control) == sorted(f"c{k}" for k in range(11))
    assert sorted(p for part in flat for p in part.duplicates) == [10 * k for k in range(40, 60)]
    assert [p for part in flat for p in part.dead] == [7]
