"""Memory for bodies under way, and who goes without when it is short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.body.room import Held
from api.problems import Problem
from ingest.fair_share import FairShare


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 50), st.booleans()), max_size=200))
def test_the_room_is_never_overfull_and_whoever_holds_nothing_gets_a_part_of_what_is_free(
    moves: list[tuple[str, int, bool]],
) -> None:
    room = FairShare(200)
    held: list[tuple[str, int]] = []
    for owner, amount, leaves in moves:
        if leaves and held:
            room.give_back(*held.pop(0))
        elif room.take(owner, amount):
            held.append((owner, amount))
        assert room.used == sum(size for _, size in held) <= room.total
        assert room.total - room.used > 0
    fresh = room.total - room.used
    assert room.take("somebody new", max(1, fresh // 2))


def test_an_organisation_that_fills_its_share_is_told_so_and_another_still_gets_in() -> None:
    room = FairShare(100)
    greedy, polite = Held(room), Held(room)
    greedy.take("greedy", 50)
    with pytest.raises(Problem) as refused:
        Held(room).take("greedy", 10)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 1)
    polite.take("polite", 20)
    for held in (greedy, polite):
        held.release()
    assert room.used == 0


def test_whoever_goes_without_for_the_sake_of_others_is_told_that_the_api_is_busy() -> None:
    room = FairShare(100)
    for name in ("a", "b", "c"):
        Held(room).take(name, 24)
    with pytest.raises(Problem) as refused:
        Held(room).take("small", 29)
    assert (refused.value.status, refused.value.retry_after_s) == (503, 1)
