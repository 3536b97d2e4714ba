"""Verdict parts put together: which events of a partition are decided, and what was decided. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.kpis import Verdicts


@dataclass(slots=True)
class _Span:
    """A span of which some parts are here; `seen_at` is where in topic `verdicts` its first part stands."""

    first_offset: int
    next_offset: int
    parts: int
    seen_at: int
    have: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return len(self.have) == self.parts

    def __len__(self) -> int:
        return 1 + len(self.refused) + len(self.late)


@dataclass(frozen=True, slots=True)
class Decided:
    """Events [first_offset, next_offset) of a partition are decided: `refused` ones (duplicates, dead letters) do not
    count, `late` ones do."""

    partition: int
    first_offset: int
    next_offset: int
    refused: frozenset[int]
    late: frozenset[int]


class Spans:
    """The decided part of one partition, from `done` on.

    After a crash the dataflow decides some events again, in spans that may be cut elsewhere, and some of the old spans
    stay without their other parts for ever. So only complete spans count, a span that begins before `done` counts from
    `done` on, and what ends before `done` is forgotten. Deciding twice gives the same verdict, so it does not matter
    which of two spans that overlap is taken.

    >>> spans = Spans(0, done=0)
    >>> spans.add(Verdicts(partition=0, first_offset=0, next_offset=10, part=0, parts=2, late=[4]), at=0)
    >>> spans.decided(span_max=100) is None
    True
    >>> spans.add(Verdicts(partition=0, first_offset=0, next_offset=10, part=1, parts=2, duplicates=[7]), at=90)
    >>> decided = spans.decided(span_max=100)
    >>> decided.next_offset, sorted(decided.refused), sorted(decided.late)
    (10, [7], [4])
    """

    def __init__(self, partition: int, *, done: int) -> None:
        self._partition = partition
        self.done = done
        # By first offset, then by next offset and number of parts.
        self._pending: dict[int, dict[tuple[int, int], _Span]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many numbers wait here: spans, and events listed in them."""
        return self._count

    def add(self, verdicts: Verdicts, *, at: int) -> None:
        """Take a record of topic `verdicts`, which stands at offset `at` of it."""
        if verdicts.next_offset <= self.done:
            return
        there = self._pending.setdefault(verdicts.first_offset, {})
        key = verdicts.next_offset, verdicts.parts
        span = there.get(key)
        before = len(span) if span is not None else 0
        if span is None:
            span = there[key] = _Span(verdicts.first_offset, *key, seen_at=at)
        span.have.add(verdicts.part)
        span.refused.update(verdicts.duplicates, verdicts.dead)
        span.late.update(verdicts.late)
        self._count += len(span) - before

    def decided(self, *, span_max: int) -> Decided | None:
        """What is decided from `done` on, ending with the span that makes it span_max or longer; None when nothing
        is."""
        end = self.done
        refused: set[int] = set()
        late: set[int] = set()
        while end - self.done < span_max and (span := self._from(end)) is not None:
            end = span.next_offset
            refused |= span.refused
            late |= span.late
        if end == self.done:
            return None
        return Decided(self._partition, self.done, end, frozenset(refused), frozenset(late))

    def _from(self, offset: int) -> _Span | None:
        """A complete span with the event at `offset`."""
        for begins_there in self._pending.get(offset, {}).values():
            if begins_there.complete:
                return begins_there
        # Only after a crash do spans overlap.
        return next((s for s in self._all() if s.complete and s.first_offset <= offset < s.next_offset), None)

    def _all(self) -> Iterator[_Span]:
        for spans in self._pending.values():
            yield from spans.values()

    def gap_end(self) -> int | None:
        """Where the first complete span begins, when it begins behind `done`; None when there is no gap."""
        starts = [span.first_offset for span in self._all() if span.complete]
        return min(starts) if starts and min(starts) > self.done else None

    def advance(self, done: int) -> None:
        """Everything before `done` is stored."""
        self.done = max(self.done, done)
        kept: dict[int, dict[tuple[int, int], _Span]] = {}
        for first, spans in self._pending.items():
            if needed := {key: span for key, span in spans.items() if span.next_offset > self.done}:
                kept[first] = needed
        self._pending = kept
        self._count = sum(map(len, self._all()))

    def oldest(self) -> int | None:
        """Where in topic `verdicts` the oldest record stands that is still needed; None when none is."""
        return min((span.seen_at for span in self._all()), default=None)
