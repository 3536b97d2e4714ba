"""A chunk of the log to columns and dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.batch import FEATURE_FIELDS, EventBatch, SeriesKey
from schemas.dead_letters import DeadLetter, dead_letter
from schemas.decode.columns import (
    DOUBTFUL,
    SERIES_FIELDS,
    SURE,
    Dictionary,
    Rows,
    Source,
    Terms,
    organisation_hash,
    put_rows,
    scan_chunk,
)
from schemas.decode.keys import NUMBERS, SPAN_FIELDS, SPANS
from schemas.decode.rows import Refused, decode_row, organisation_of
from schemas.decode.words import HIGHS, ZERO
from schemas.events import DEFAULT_ORG, FUTURE_MS_MAX, TS_MS_MAX, Event, EventType
from schemas.log import Chunk

# Loads reach at most this far past what they use.
_PADDING: Final = 32
# Series keys remembered from chunk to chunk, by hash: about 100 MB when full, then it starts anew.
_KNOWN_SERIES_MAX: Final = 262_144
_TYPE_CODES: Final = {kind.wire: kind.value for kind in EventType}

_known_series: dict[int, SeriesKey] = {}


@dataclass(slots=True)
class Decoded:
    """The events of a chunk as columns, what was refused, and how many lines there were, blank ones not counted."""

    batch: EventBatch
    dead: list[DeadLetter]
    lines: int


class SlowRow(NamedTuple):
    """An event that the row decoder read: its line, and its values."""

    place: int
    event: Event


class SlowTexts(NamedTuple):
    """The texts of slow rows one after another, padded, and where each is; absent ones have length 0."""

    blob: bytes
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    numbers: NDArray[np.int64]


@dataclass(slots=True)
class Scan:
    """A chunk scanned: a row a line, those of `kept` filled; their texts are in `payload`, of slow rows in `texts`."""

    payload: bytes
    kept: NDArray[np.intp]
    positions: NDArray[np.int64]
    rows: Rows
    dictionary: Dictionary
    fast_series: int
    slow: list[SlowRow]
    texts: SlowTexts
    dead: list[DeadLetter]


def _source(payload: bytes) -> tuple[Source, NDArray[np.uint8]]:
    """The payload as addresses, and the padded copy of its last lines, to be kept alive while it is read."""
    size = len(payload)
    tail_start = payload.rfind(b"\n", 0, max(0, size - _PADDING)) + 1
    tail = np.zeros(size - tail_start + _PADDING, np.uint8)
    tail[: size - tail_start] = np.frombuffer(payload, np.uint8, offset=tail_start)
    base = np.frombuffer(payload, np.uint8).ctypes.data
    return Source(base, tail.ctypes.data - tail_start, tail_start, size, _refused_bits(payload)), tail


def _refused_bits(payload: bytes) -> np.uint64:
    if payload.isascii():
        return ZERO
    try:
        payload.decode()
    except UnicodeDecodeError:
        return HIGHS
    return ZERO


def _empty_rows(lines: int, with_places: bool) -> Rows:
    placed = lines if with_places else 0
    return Rows(
        type=np.empty(lines, np.uint8),
        numbers=np.empty((3, lines), np.int64),
        hashes=np.empty((4, lines), np.uint64),
        features=np.empty((lines, len(FEATURE_FIELDS)), np.uint32),
        series_code=np.empty(lines, np.int32),
        starts=np.empty((placed, SPANS), np.int64),
        lengths=np.empty((placed, SPANS), np.int32),
    )


def _empty_dictionary(lines: int) -> Dictionary:
    """Room for a series a line, at most half full."""
    return Dictionary(
        slots=np.full(1 << (2 * lines).bit_length(), -1, np.int32),
        hashes=np.empty(lines, np.uint64),
        starts=np.empty((lines, len(SERIES_FIELDS)), np.int64),
        lengths=np.empty((lines, len(SERIES_FIELDS)), np.int32),
        distinct=np.zeros(1, np.int64),
    )


def _slow_texts(slow: list[SlowRow]) -> SlowTexts:
    parts: list[bytes] = []
    lengths = np.zeros((len(slow), SPANS), np.int64)
    numbers = np.zeros((len(slow), NUMBERS), np.int64)
    for k, (_, event) in enumerate(slow):
        texts = [(getattr(event, field) or "").encode() for field in SPAN_FIELDS]
        parts.extend(texts)
        lengths[k] = [len(text) for text in texts]
        numbers[k, :4] = _TYPE_CODES[event.type], event.ts, event.cost_micros, event.revenue_micros
    ends = np.cumsum(lengths).reshape(lengths.shape)
    return SlowTexts(b"".join(parts) + bytes(_PADDING), ends - lengths, lengths, numbers)


def scan(chunk: Chunk, *, now_ms: int, org_id: str | None, with_places: bool) -> Scan:
    """Scan a chunk; with places, rows also say where every text is and rows with unknown fields are slow."""
    payload = chunk.payload if chunk.payload.endswith(b"\n") or not chunk.payload else chunk.payload + b"\n"
    lines = payload.count(b"\n")
    source, tail = _source(payload)
    org = np.frombuffer((org_id or "").encode() + bytes(_PADDING), np.uint8)
    terms = Terms(
        ts_ms_max=min(now_ms + FUTURE_MS_MAX, TS_MS_MAX),
        org_hash=organisation_hash(org_id or DEFAULT_ORG),
        org_address=org.ctypes.data,
        org_length=len(org) - _PADDING,
        keep_extra=with_places,
    )
    rows, dictionary = _empty_rows(lines, with_places), _empty_dictionary(lines)
    ends, states = np.empty(lines, np.int64), np.empty(lines, np.uint8)
    scan_chunk(source, terms, rows, dictionary, ends, states)
    del tail
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[:lines]
    positions = starts + chunk.first_offset if chunk.offsets is None else chunk.offsets
    fast_series = int(dictionary.distinct[0])
    slow, dead = _decide(chunk, payload, np.flatnonzero(states == DOUBTFUL), starts, ends, positions, now_ms, org_id)
    texts = _slow_texts(slow)
    if slow:
        places = np.array([row.place for row in slow], np.int64)
        states[places] = SURE
        blob = np.frombuffer(texts.blob, np.uint8)
        put_rows(blob.ctypes.data, places, texts.starts, texts.lengths, texts.numbers, terms, rows, dictionary)
    return Scan(payload, np.flatnonzero(states == SURE), positions, rows, dictionary, fast_series, slow, texts, dead)


def _decide(
    chunk: Chunk,
    payload: bytes,
    doubtful: NDArray[np.intp],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    positions: NDArray[np.int64],
    now_ms: int,
    org_id: str | None,
) -> tuple[list[SlowRow], list[DeadLetter]]:
    """The lines that the scanner was not sure of: events, or dead letters."""
    slow: list[SlowRow] = []
    dead: list[DeadLetter] = []
    for place in doubtful.tolist():
        raw = payload[starts[place] : ends[place]]
        found = decode_row(raw, now_ms=now_ms, org_id=org_id)
        if not isinstance(found, Refused):
            slow.append(SlowRow(place, found))
            continue
        source = f"{chunk.topic}/{chunk.partition}@{positions[place]}"
        owner = org_id or organisation_of(raw)
        dead.append(dead_letter(raw, *found, source=source, org_id=owner, ts_ms=now_ms))
    return slow, dead


def _series(scanned: Scan, org_id: str) -> list[SeriesKey]:
    """The distinct series by code; texts are only looked at for those not met before."""
    dictionary = scanned.dictionary
    count = int(dictionary.distinct[0])
    hashes: list[int] = dictionary.hashes[:count].tolist()
    keys = [_known_series.get(value) for value in hashes]
    for code in [code for code, key in enumerate(keys) if key is None]:
        text = scanned.payload if code < scanned.fast_series else scanned.texts.blob
        fields = [
            text[start : start + length].decode()
            for start, length in zip(dictionary.starts[code].tolist(), dictionary.lengths[code].tolist(), strict=True)
        ]
        keys[code] = SeriesKey(fields[0] or org_id, *fields[1:])
        if len(_known_series) >= _KNOWN_SERIES_MAX:
            _known_series.clear()
        _known_series[hashes[code]] = keys[code]  # type: ignore[assignment]
    return keys  # type: ignore[return-value]


def decode_chunk(chunk: Chunk, *, now_ms: int, org_id: str | None = None) -> Decoded:
    """The events of a chunk in log order, and a dead letter for every line that is none.

    `now_ms` bounds event times and stamps dead letters. With `org_id` all events are of that organisation and a line
    that names another is refused; without, each line's own counts, DEFAULT_ORG where it names none.
    `batch.position` is the log offset. Reasons are those of `decode_row`.
    """
    scanned = scan(chunk, now_ms=now_ms, org_id=org_id, with_places=False)
    rows = scanned.rows
    batch = EventBatch(
        position=scanned.positions,
        type=rows.type,
        ts_ms=rows.numbers[0],
        cost_micros=rows.numbers[1],
        revenue_micros=rows.numbers[2],
        id_hi=rows.hashes[0],
        id_lo=rows.hashes[1],
        actor=rows.hashes[2],
        ref=rows.hashes[3],
        features=rows.features,
        series_code=rows.series_code,
        series=_series(scanned, org_id or DEFAULT_ORG),
    )
    if len(scanned.kept) < len(rows.type):
        batch = batch.take(scanned.kept)
    return Decoded(batch, scanned.dead, len(scanned.kept) + len(scanned.dead))
