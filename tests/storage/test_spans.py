"""Which events are decided, from verdicts that come in parts, twice, and cut differently after a crash."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kpis import Verdicts
from storage.store.spans import Spans


def verdicts(first: int, end: int, part: int = 0, parts: int = 1, duplicates: tuple[int, ...] = ()) -> Verdicts:
    return Verdicts(
        partition=0, first_offset=first, next_offset=end, part=part, parts=parts, duplicates=list(duplicates)
    )


def test_a_span_waits_for_all_its_parts() -> None:
    spans = Spans(0, done=0)
    spans.add(verdicts(0, 10, part=0, parts=2, duplicates=(2,)), at=0)
    assert spans.decided(span_max=100) is None
    spans.add(verdicts(0, 10, part=1, parts=2, duplicates=(3,)), at=50)
    decided = spans.decided(span_max=100)
    assert decided is not None
    assert decided.refused == {2, 3}


def test_a_later_span_waits_for_an_earlier_one() -> None:
    spans = Spans(0, done=0)
    spans.add(verdicts(10, 20), at=0)
    assert spans.decided(span_max=100) is None
    assert spans.gap_end() == 10


def test_what_is_done_is_not_decided_again() -> None:
    spans = Spans(0, done=15)
    spans.add(verdicts(0, 10), at=0)
    spans.add(verdicts(10, 20, duplicates=(12, 17)), at=30)
    decided = spans.decided(span_max=100)
    assert decided is not None
    assert (decided.first_offset, decided.next_offset) == (15, 20)


def test_a_span_left_incomplete_by_a_crash_is_forgotten_once_others_cover_it() -> None:
    spans = Spans(0, done=0)
    spans.add(verdicts(0, 10, part=0, parts=2), at=0)
    spans.add(verdicts(0, 7), at=30)
    spans.add(verdicts(7, 12), at=60)
    assert spans.oldest() == 0
    spans.advance(12)
    assert (len(spans), spans.oldest()) == (0, None)


@pytest.mark.parametrize(("span_max", "end"), [(1, 5), (6, 10), (100, 15)])
def test_a_batch_ends_with_the_span_that_fills_it(span_max: int, end: int) -> None:
    spans = Spans(0, done=0)
    for start in (0, 5, 10):
        spans.add(verdicts(start, start + 5), at=start)
    decided = spans.decided(span_max=span_max)
    assert decided is not None
    assert decided.next_offset == end


def test_of_a_span_the_oldest_record_still_needed_is_known() -> None:
    spans = Spans(0, done=0)
    spans.add(verdicts(0, 5), at=100)
    spans.add(verdicts(5, 10), at=200)
    spans.advance(5)
    assert spans.oldest() == 200


cuts = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(
    st.sets(st.integers(0, 99), max_size=30),
    st.lists(st.tuples(cuts, st.integers(1, 3)), min_size=1, max_size=4),
    st.data(),
)
def test_however_spans_are_cut_each_event_is_taken_once_with_its_verdict(
    duplicates: set[int], runs: list[tuple[list[int], int]], data: st.DataObject
) -> None:
    """Each run of the dataflow decides a stretch anew, in spans and parts of its own; the last one gets to the end."""
    spans = Spans(0, done=0)
    taken: list[int] = []
    refused: set[int] = set()
    for number, (widths, parts) in enumerate(runs):
        is_last = number == len(runs) - 1
        start = 0 if number == 0 else data.draw(st.integers(0, spans.done))
        edges = [start]
        for width in widths:
            edges.append(min(100, edges[-1] + width))
        if is_last:
            edges.append(100)
        for first, end in pairwise(edges):
            if first == end:
                continue
            kept = parts if is_last else data.draw(st.integers(0, parts))
            for part in range(kept):
                mine = tuple(sorted(d for d in duplicates if first <= d < end and d % parts == part))
                spans.add(verdicts(first, end, part, parts, mine), at=0)
            while (decided := spans.decided(span_max=30)) is not None:
                span = range(decided.first_offset, decided.next_offset)
                taken.extend(span)
                refused |= decided.refused & set(span)
                spans.advance(decided.next_offset)
    assert taken == list(range(100))
    assert refused == duplicates
    assert len(spans) == 0
