"""Events that were decided on and stored, read again from the log to be compared with ClickHouse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import pyarrow as pa

from schemas import topics
from schemas.kpis import Verdicts
from schemas.log import Log
from storage.store.event_rows import event_table
from storage.store.feed import Tail
from storage.store.spans import Spans
from storage.store.tables import decoded
from storage.store.verify import Place

_VERDICT_BYTES: Final = 2**20
# A consumer of a broker has nothing at first.
_WAIT_S: Final = 5.0

_verdict_decoder: Final = msgspec.json.Decoder(Verdicts)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of `events` as they must be, and where in the log they come from."""

    table: pa.Table
    place: Place


class DecidedEvents:
    """The accepted events of each partition from a start on, piece by piece. Nothing is committed.

    What waits here is what the partitions' verdicts lie apart in their topic, as all partitions are read in turn.
    """

    def __init__(self, log: Log, starts: Mapping[int, int]) -> None:
        self._log = log
        self._verdicts = Tail(log, topics.VERDICTS, 0, start=log.begin(topics.VERDICTS, 0), again=True)
        self._tails = {p: Tail(log, topics.EVENTS, p, start=start, again=True) for p, start in starts.items()}
        self._spans = {p: Spans(p, done=start) for p, start in starts.items()}

    def position(self, partition: int) -> int:
        """Everything before it was given out, or can no longer be read."""
        return self._spans[partition].done

    def read(self, partition: int, limit: int, max_bytes: int) -> Piece | None:
        """The next events before `limit`; None when the position is there, or when the log gives nothing now."""
        spans, tail = self._spans[partition], self._tails[partition]
        while spans.done < limit:
            decided = spans.decided(span_max=max_bytes)
            if decided is None:
                if not self._take_verdicts():
                    # Retention has removed the verdicts: what lies before the next ones cannot be judged any more.
                    spans.advance(min(limit, spans.gap_end() or limit))
                continue
            decided = replace(decided, next_offset=min(decided.next_offset, limit))
            tail.position = decided.first_offset
            length = decided.next_offset - decided.first_offset
            chunk = tail.read(min(max_bytes, length) if tail.offsets_are_bytes else max_bytes, _WAIT_S)
            if chunk is None:
                if tail.position == decided.first_offset:
                    return None
                spans.advance(min(tail.position, decided.next_offset))
                continue
            spans.advance(min(chunk.next_offset, decided.next_offset))
            place = Place(decided.first_offset, spans.done, partition)
            return Piece(event_table(chunk, decided), place)
        return None

    def _take_verdicts(self) -> bool:
        """Read on in topic `verdicts`; False at its end."""
        if self._verdicts.position >= self._log.end(topics.VERDICTS, 0):
            return False
        before = self._verdicts.position
        chunk = self._verdicts.read(_VERDICT_BYTES, _WAIT_S)
        if chunk is not None:
            for verdicts in decoded(topics.VERDICTS, chunk.records(), _verdict_decoder.decode):
                if verdicts.partition in self._spans:
                    self._spans[verdicts.partition].add(verdicts, at=chunk.first_offset)
            self._verdicts.position = chunk.next_offset
        return self._verdicts.position > before
