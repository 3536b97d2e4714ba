"""A chunk of the log to columns and dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.batch import EventBatch
from schemas.dead_letters import DeadLetter, dead_letter
from schemas.decode.buffers import Columns, Payload, address, padded
from schemas.decode.columns import DOUBTFUL, SURE, Terms, organisation_hash, put_rows, scan_chunk
from schemas.decode.keys import COST, LENGTHS, LINE_WORDS, REVENUE, SPAN_FIELDS, TS, TYPE
from schemas.decode.rows import Refused, decode_row, organisation_of
from schemas.decode.series import SeriesTable, Uncoded
from schemas.events import DEFAULT_ORG, FUTURE_MS_MAX, TS_MS_MAX, Event, EventType
from schemas.log import Chunk

_TYPE_CODES: Final = {kind.wire: kind.value for kind in EventType}


@dataclass(slots=True)
class Decoded:
    """The events of a chunk as columns, what was refused, and how many lines there were, blank ones not counted."""

    batch: EventBatch
    dead: list[DeadLetter]
    lines: int


class SlowRow(NamedTuple):
    """An event that the row decoder read, and its line's place in the chunk."""

    place: int
    event: Event


class SlowTexts(NamedTuple):
    """The texts of slow rows one after another, and where each is as the scanner notes it."""

    blob: NDArray[np.uint8]
    lines: NDArray[np.int64]


@dataclass(slots=True)
class Scan:
    """A chunk scanned: a row a line, those in `kept` are events. Slow ones were read by the row decoder.

    Addresses in `columns.texts` are good as long as this object lives.
    """

    payload: Payload
    positions: NDArray[np.int64]
    kept: NDArray[np.intp]
    columns: Columns
    slow: list[SlowRow]
    texts: SlowTexts
    dead: list[DeadLetter]


def _slow_texts(slow: list[SlowRow]) -> SlowTexts:
    parts: list[bytes] = []
    lines = np.zeros((len(slow), LINE_WORDS), np.int64)
    for k, (_, event) in enumerate(slow):
        texts = [(getattr(event, field) or "").encode() for field in SPAN_FIELDS]
        parts.extend(texts)
        lines[k, LENGTHS:] = [len(text) for text in texts]
        lines[k, [TYPE, TS, COST, REVENUE]] = _TYPE_CODES[event.type], event.ts, event.cost_micros, event.revenue_micros
    lengths = lines[:, LENGTHS:]
    lines[:, : len(SPAN_FIELDS)] = np.cumsum(lengths).reshape(lengths.shape) - lengths
    return SlowTexts(padded(b"".join(parts)), lines)


def scan(
    chunk: Chunk,
    *,
    now_ms: int,
    org_id: str | None,
    series: SeriesTable | Uncoded,
    with_texts: bool = False,
    stamp_ms: int | None = None,
) -> Scan:
    """Scan a chunk; `with_texts` notes where every text is, and leaves lines with unknown fields to the row decoder."""
    payload = Payload(chunk.payload)
    columns = Columns.empty(payload.lines, with_texts=with_texts)
    default_org = org_id or DEFAULT_ORG
    organisation = padded(default_org.encode())
    terms = Terms(
        ts_ms_max=min(now_ms + FUTURE_MS_MAX, TS_MS_MAX),
        org_hash=organisation_hash(default_org),
        default_address=address(organisation),
        default_length=len(default_org.encode()),
        org_address=address(organisation),
        org_length=len((org_id or "").encode()),
        keep_extra=with_texts,
    )
    ends, states = np.empty(payload.lines, np.int64), np.empty(payload.lines, np.uint8)
    line = np.zeros(LINE_WORDS, np.int64)
    series.begin_chunk(payload.lines, len(payload.bytes))
    dictionary = series.dictionary(payload.lines, len(payload.bytes))
    scan_chunk(payload.source(), terms, columns.rows(), dictionary, address(line), ends, states)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: payload.lines]
    positions = starts + chunk.first_offset if chunk.offsets is None else chunk.offsets
    doubtful = [
        (place, payload.bytes[starts[place] : ends[place]]) for place in np.flatnonzero(states == DOUBTFUL).tolist()
    ]
    slow, dead = _decide(chunk, doubtful, positions, now_ms, org_id, now_ms if stamp_ms is None else stamp_ms)
    texts = _slow_texts(slow)
    if slow:
        places = np.array([row.place for row in slow], np.int64)
        dictionary = series.dictionary(len(slow), len(texts.blob))
        put_rows(address(texts.blob), places, address(texts.lines), terms, columns.rows(), dictionary)
        states[places] = SURE
    return Scan(payload, positions, np.flatnonzero(states == SURE), columns, slow, texts, dead)


def _decide(
    chunk: Chunk,
    doubtful: list[tuple[int, bytes]],
    positions: NDArray[np.int64],
    now_ms: int,
    org_id: str | None,
    stamp_ms: int,
) -> tuple[list[SlowRow], list[DeadLetter]]:
    """What the lines that the scanner was not sure of are: events, or dead letters."""
    slow: list[SlowRow] = []
    dead: list[DeadLetter] = []
    for place, raw in doubtful:
        found = decode_row(raw, now_ms=now_ms, org_id=org_id)
        if not isinstance(found, Refused):
            slow.append(SlowRow(place, found))
            continue
        source = f"{chunk.topic}/{chunk.partition}@{positions[place]}"
        owner = org_id or organisation_of(raw)
        dead.append(dead_letter(raw, *found, source=source, org_id=owner, ts_ms=stamp_ms))
    return slow, dead


def decode_chunk(
    chunk: Chunk,
    *,
    now_ms: int,
    org_id: str | None = None,
    series: SeriesTable | None = None,
    stamp_ms: int | None = None,
) -> Decoded:
    """The events of a chunk in log order, and a dead letter for every line that is none.

    `now_ms` bounds event times and stamps dead letters, unless `stamp_ms` does. With `org_id` all events are of that
    organisation and a line that names another is refused; without, each line's own counts, DEFAULT_ORG where it names
    none. `batch.position` is the log offset. Reasons are those of `decode_row`. With a table, `batch.series` are
    its columns and codes mean the same from chunk to chunk as long as these are the same; without, it has its own.
    """
    table = SeriesTable() if series is None else series
    scanned = scan(chunk, now_ms=now_ms, org_id=org_id, series=table, stamp_ms=stamp_ms)
    columns = scanned.columns
    batch = EventBatch(
        position=scanned.positions,
        type=columns.type,
        ts_ms=columns.ts_ms,
        cost_micros=columns.cost_micros,
        revenue_micros=columns.revenue_micros,
        event_hash=columns.event_hash,
        actor=columns.actor,
        series_code=columns.series_code,
        series=table.columns,
    )
    if len(scanned.kept) < len(columns.type):
        batch = batch.take(scanned.kept)
    return Decoded(batch, scanned.dead, len(scanned.kept) + len(scanned.dead))
