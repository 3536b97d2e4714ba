"""What the oracle's counting takes for right."""

from __future__ import annotations

import pytest

from tests.simulation.plain import Event, counts, row_of


def event(event_id: str, offset: int = 0, cost_micros: int = 5) -> Event:
    return Event(0, offset, event_id, ("o", "c"), "impression", 0, cost_micros, 0)


def test_a_row_counts_events_of_which_each_came_once() -> None:
    events = [event("a"), event("b", 1)]
    assert counts(row_of(events), events)
    assert not counts(row_of(events[:1]), events)
    assert not counts(row_of([*events, event("c", 2)]), events)


@pytest.mark.parametrize(
    ("row", "is_right"),
    [
        pytest.param(row_of([event("a"), event("a", 9), event("b", 1)]), True, id="the flow's, the id twice"),
        pytest.param(row_of([event("a"), event("b", 1)]), True, id="counted from table events, the id once"),
        pytest.param(row_of([event("a")]), False, id="another event is missing"),
        pytest.param(row_of([event("a"), event("b", 1, cost_micros=50)]), False, id="more than there was"),
    ],
)
def test_an_id_that_dedupe_had_forgotten_may_count_once_or_twice(row: tuple[int, ...], is_right: bool) -> None:
    assert counts(row, [event("a"), event("b", 1), event("a", 9)]) is is_right
