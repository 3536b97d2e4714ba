"""Chunks of the log, record by record and cut in two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schemas.log import Chunk


def records_with_ends(chunk: Chunk) -> Iterator[tuple[bytes, int]]:
    """Each record, and the offset behind it.

    >>> list(records_with_ends(Chunk("control", 0, b"a\\nbc\\n", 10, 15)))
    [(b'a', 12), (b'bc', 15)]
    """
    records = chunk.records()
    if chunk.offsets is None:
        end = chunk.first_offset
        for record in records:
            end += len(record) + 1
            yield record, end
    else:
        yield from zip(records, [*chunk.offsets[1:].tolist(), chunk.next_offset], strict=True)


def cut_before(chunk: Chunk, offset: int) -> tuple[Chunk | None, Chunk | None]:
    """The records before `offset`, and those from it on; None for a part without records.

    >>> before, after = cut_before(Chunk("events", 0, b"a\\nbc\\n", 10, 15), 12)
    >>> before.payload, after.payload, after.first_offset
    (b'a\\n', b'bc\\n', 12)
    """
    if offset >= chunk.next_offset:
        return chunk, None
    if offset <= chunk.first_offset:
        return None, chunk
    place = _byte_of(chunk, offset)
    if place >= len(chunk.payload):
        return chunk, None
    count = chunk.payload.count(b"\n", 0, place)
    offsets = chunk.offsets
    boundary = chunk.first_offset + place if offsets is None else int(offsets[count])
    head, tail = (None, None) if offsets is None else (offsets[:count], offsets[count:])
    return (
        Chunk(chunk.topic, chunk.partition, chunk.payload[:place], chunk.first_offset, boundary, head),
        Chunk(chunk.topic, chunk.partition, chunk.payload[place:], boundary, chunk.next_offset, tail),
    )


def _byte_of(chunk: Chunk, offset: int) -> int:
    """Where in the payload the first record from `offset` on begins; 0 < result."""
    if chunk.offsets is None:
        # An offset inside a record belongs to the record: the cut is behind it.
        return chunk.payload.index(b"\n", offset - chunk.first_offset - 1) + 1
    before = int(np.searchsorted(chunk.offsets, offset))
    newlines = np.flatnonzero(np.frombuffer(chunk.payload, np.uint8) == ord("\n"))
    return int(newlines[before - 1]) + 1
