from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from api.live.points import POINTS_MAX, SPARK_POINTS, STEP_MS, PointRing
from schemas.kpis import Counters


def window(index: int, spend_micros: int) -> tuple[int, Counters]:
    return index * STEP_MS, Counters(impressions=index, spend_micros=spend_micros)


def test_a_window_that_grows_replaces_its_point() -> None:
    ring = PointRing()
    ring.put([window(100, 5)])
    ring.put([window(101, 1), window(100, 9)])
    assert [(point[0], point[5]) for point in ring] == [(100 * STEP_MS, 9), (101 * STEP_MS, 1)]


def test_a_window_older_than_the_newest_that_was_never_there_is_left_out() -> None:
    ring = PointRing()
    ring.put([window(100, 5)])
    ring.put([window(99, 7)])
    assert [point[0] for point in ring] == [100 * STEP_MS]


def test_points_older_than_an_hour_before_the_newest_are_not_given() -> None:
    ring = PointRing()
    ring.put([window(100, 5), window(100 + POINTS_MAX, 6)])
    assert [point[5] for point in ring] == [6]


def test_an_idle_window_is_zero_in_the_spark_line() -> None:
    ring = PointRing()
    ring.put([window(100, 5), window(102, 6)])
    newest_ms, spend = ring.spark()
    assert newest_ms == 102 * STEP_MS
    assert spend == [0] * (SPARK_POINTS - 3) + [5, 0, 6]


def test_a_window_that_no_clock_can_have_is_left_out() -> None:
    ring = PointRing()
    ring.put([(-10_000, Counters()), (0, Counters()), (2**62, Counters()), window(100, 5)])
    assert [point[5] for point in ring] == [5]


def test_a_count_beyond_four_billion_does_not_break_the_ring() -> None:
    ring = PointRing()
    ring.put([(STEP_MS, Counters(impressions=2**40, spend_micros=2**60))])
    assert next(iter(ring))[1:7:4] == (2**32 - 1, 2**60)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 2**50)), max_size=900))
def test_the_ring_holds_the_last_hour_of_what_it_was_told_in_order(steps: list[tuple[int, int]]) -> None:
    ring = PointRing()
    expected: dict[int, int] = {}
    index = 1
    for ahead, spend in steps:
        index += ahead % 4
        ring.put([window(index, spend)])
        expected[index] = spend
    last_hour = {at: spend for at, spend in expected.items() if at > index - POINTS_MAX}
    assert [(point[0] // STEP_MS, point[5]) for point in ring] == sorted(last_hour.items())
    assert len(ring) <= POINTS_MAX
