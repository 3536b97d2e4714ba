"""The memory of ids, against a plain one of dictionaries."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flows.logic.campaigns.dedupe import SeenIds

Calls = list[list[tuple[int, int]]]


class PlainSeenIds:
    """The same promise, in ordered dictionaries."""

    def __init__(self, ids_max: int, organisations: int) -> None:
        self._ids_max = ids_max
        self.kept: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(organisations)]

    def is_new(self, owner: int, fingerprint: int) -> bool:
        if fingerprint in self.kept[owner]:
            return False
        if sum(map(len, self.kept)) == self._ids_max:
            most = max(map(len, self.kept))
            largest = owner if len(self.kept[owner]) == most else [len(kept) for kept in self.kept].index(most)
            self.kept[largest].popitem(last=False)
        self.kept[owner][fingerprint] = None
        return True


def fingerprints_of(numbers: list[int]) -> NDArray[np.uint64]:
    """Half of them crowd into the same slots of any table, at its very end."""
    crowded = [(2**64 - 1 - n) if n % 2 else n * 0x9E3779B97F4A7C15 % 2**64 for n in numbers]
    return np.array([max(fingerprint, 2) for fingerprint in crowded], np.uint64)


@settings(max_examples=200, deadline=None)
@given(
    ids_max=st.sampled_from([1, 2, 3, 10, 40]),
    calls=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=60), max_size=12),
    restarts=st.sets(st.integers(0, 11)),
)
def test_an_id_is_new_exactly_when_it_is_not_among_the_last_that_are_kept(
    ids_max: int, calls: Calls, restarts: set[int]
) -> None:
    seen, plain = SeenIds(ids_max), PlainSeenIds(ids_max, 4)
    seen.mark_new(np.empty(0, np.uint64))
    for number, rows in enumerate(calls):
        found = fingerprints_of([value for _, value in rows])
        owners = np.array([owner for owner, _ in rows], np.int32)
        wanted = [plain.is_new(owner, int(id_)) for owner, id_ in zip(owners.tolist(), found.tolist(), strict=True)]
        assert seen.mark_new(found, owners).tolist() == wanted
        kept = [seen.kept(owner).tolist() for owner in range(len(seen.counts()))]
        assert kept == [list(plain.kept[owner]) for owner in range(len(kept))]
        assert len(seen) == sum(map(len, kept)) <= ids_max
        if number in restarts:
            seen = SeenIds.restore([seen.kept(owner) for owner in range(len(kept))], ids_max)


def test_how_rows_are_cut_into_calls_makes_no_difference() -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(2, 3_000, 20_000).astype(np.uint64)
    owners = rng.integers(0, 3, 20_000).astype(np.int32)
    whole, cut = SeenIds(1_000), SeenIds(1_000)
    at_once = whole.mark_new(rows, owners)
    ends = np.sort(rng.integers(0, 20_000, 300))
    parts = zip(np.split(rows, ends), np.split(owners, ends), strict=True)
    assert np.concatenate([cut.mark_new(*part) for part in parts]).tolist() == at_once.tolist()


def test_who_sends_much_forgets_its_own_ids_first() -> None:
    seen = SeenIds(1_000)
    quiet = np.arange(2, 402, dtype=np.uint64)
    seen.mark_new(quiet, np.zeros(400, np.int32))
    for first in range(10, 20_000, 1_000):
        seen.mark_new(np.arange(first, first + 1_000, dtype=np.uint64), np.ones(1_000, np.int32))
    assert seen.counts().tolist() == [400, 600]
    assert not seen.mark_new(quiet, np.zeros(400, np.int32)).any()


def test_organisations_whose_ids_have_equal_hashes_do_not_hide_each_others() -> None:
    seen = SeenIds(100)
    assert seen.mark_new(np.array([7, 7, 7], np.uint64), np.array([0, 1, 0], np.int32)).tolist() == [True, True, False]


def test_memory_follows_what_is_kept_and_not_what_once_was() -> None:
    seen = SeenIds(100_000)
    for owner in range(20):
        ids = np.random.default_rng(owner).integers(2, 2**64, 100_000, dtype=np.uint64)
        seen.mark_new(ids, np.full(len(ids), owner, np.int32))
    assert seen.memory_bytes() < 100 * seen.ids_max


def test_ids_made_up_to_crowd_into_a_slot_are_spread() -> None:
    seen = SeenIds(200_000, spread=0xD1B54A32D192ED03)
    crowded = (np.uint64(77) << np.uint64(32)) + np.arange(100_000, dtype=np.uint64)
    assert seen.mark_new(crowded).all()
    assert seen.longest_probe() < 200


@pytest.mark.parametrize("ids_max", [0, -1, 2**31])
def test_a_bound_that_cannot_be_is_refused(ids_max: int) -> None:
    with pytest.raises(ValueError, match="ids_max"):
        SeenIds(ids_max)


def test_an_id_kept_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        SeenIds.restore([np.array([5, 5], np.uint64)], 10)
