"""Hunt for a line that the decoder and the plain reference see differently: `python -m tests.schemas.decode_hunt`.

A round is some lines, cut into chunks, decoded by `decode_chunk`, `decode_table` and `decode_row`; its number is its
seed. Memory ends right behind each chunk (see `guarded`): a process that dies of a signal has found something, too;
the rounds from the last number printed on find it again.
"""

from __future__ import annotations

import argparse
import ast
import faulthandler
import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

import schemas.decode.chunk
from schemas.decode import SeriesTable, TableColumns, decode_chunk, decode_row, decode_table
from schemas.events import Event
from schemas.log import Chunk
from tests.schemas.decode_mutations import NOW_MS, line_of
from tests.schemas.decode_reference import TEXTS, RefusedError, Taken, is_blank, judged, owner_of
from tests.schemas.guarded import GuardedPayload

CORPUS = Path(__file__).with_name("decode_corpus.txt")
LINES_A_ROUND = 48
_REPORT_S = 20.0


def corpus() -> list[bytes]:
    """Lines worth starting from: each a bytes literal of Python, what it is about behind it."""
    return [ast.literal_eval(entry) for entry in CORPUS.read_text().splitlines() if entry.startswith("b")]


def expected(raw: bytes, position: int, org_id: str | None) -> tuple[Any, ...]:
    """What the reference makes of a line."""
    try:
        taken = judged(raw, NOW_MS, org_id)
    except RefusedError as refused:
        return ("refused", position, refused.reason.value, refused.field, owner_of(raw, org_id), len(raw))
    return ("taken", position, *_numbers(taken), taken.event_hash(), taken.actor(), taken.series())


def _numbers(taken: Taken) -> tuple[int, ...]:
    return taken.type, taken.ts_ms, taken.cost_micros, taken.revenue_micros


def by_chunk(chunk: Chunk, org_id: str | None, table: SeriesTable | None) -> list[tuple[Any, ...]]:
    """What `decode_chunk` makes of a chunk."""
    found = decode_chunk(chunk, now_ms=NOW_MS, org_id=org_id, series=table)
    batch = found.batch
    columns = (batch.position, batch.type, batch.ts_ms, batch.cost_micros, batch.revenue_micros)
    rows = zip(*(column.tolist() for column in (*columns, batch.event_hash, batch.actor)), strict=True)
    seen = [("taken", *row, batch.series.key(code)) for row, code in zip(rows, batch.series_code.tolist(), strict=True)]
    for dead in found.dead:
        position = int(dead.source.rpartition("@")[2])
        seen.append(("refused", position, dead.reason, dead.field, dead.org_id, dead.raw_bytes))
    assert found.lines == len(seen), f"{found.lines} lines, {len(seen)} events and dead letters"
    return sorted(seen, key=lambda one: int(one[1]))


def stored(taken: Taken, position: int) -> tuple[Any, ...]:
    """The row of the table that an event is."""
    texts = tuple(taken.text(name) for name in ("event_id", *TEXTS))
    return (position, *_numbers(taken), *texts, *(_ordered(part) for part in (taken.lead, taken.extra)))


def _ordered(value: Any) -> str:
    """A text for what JSON values are equal; 1 and 1.0 are not."""
    return "" if value is None else json.dumps(value, sort_keys=True)


def by_table(chunk: Chunk, org_id: str | None) -> list[tuple[Any, ...]]:
    """What `decode_table` makes of a chunk."""
    table: TableColumns = decode_table(chunk, now_ms=NOW_MS, org_id=org_id)
    numbers = (table.position, table.type, table.ts_ms, table.cost_micros, table.revenue_micros)
    rows = zip(*(column.tolist() for column in numbers), strict=True)
    return [
        (*row, *(table.texts[name].text(at) for name in ("event_id", *TEXTS)), *_json_of(table, at))
        for at, row in enumerate(rows)
    ]


def _json_of(table: TableColumns, at: int) -> tuple[str, ...]:
    texts = (column.text(at) for column in (table.lead, table.extra))
    return tuple(_ordered(json.loads(text)) if text else "" for text in texts)


def by_row(raw: bytes, position: int, org_id: str | None) -> tuple[Any, ...] | None:
    """What `decode_row` makes of a line, as the table has it; None when it is refused."""
    event = decode_row(raw, now_ms=NOW_MS, org_id=org_id)
    if not isinstance(event, Event):
        return None
    taken = Taken(
        schemas.decode.chunk._TYPE_CODES[event.type],
        *(event.ts, event.cost_micros, event.revenue_micros),
        {name: value for name in ("event_id", *TEXTS) if (value := getattr(event, name))},
        msgspec.to_builtins(event.lead) if event.lead is not None else None,
        event.extra,
    )
    return stored(taken, position)


def check_chunk(chunk: Chunk, org_id: str | None, table: SeriesTable | None) -> Counter[str]:
    """Raise AssertionError where a decoder differs from the reference; how many lines were what."""
    lines = chunk.payload.removesuffix(b"\n").split(b"\n") if chunk.payload else []
    starts = np.cumsum([0, *(len(raw) + 1 for raw in lines)]) + chunk.first_offset
    positions = starts.tolist() if chunk.offsets is None else chunk.offsets.tolist()
    placed = [(raw, place) for raw, place in zip(lines, positions, strict=False) if not is_blank(raw)]
    wanted = [expected(raw, place, org_id) for raw, place in placed]
    _same("decode_chunk", by_chunk(chunk, org_id, table), wanted)
    taken = [place for place, one in enumerate(wanted) if one[0] == "taken"]
    rows = [stored(judged(placed[at][0], NOW_MS, org_id), placed[at][1]) for at in taken]
    _same("decode_row", [row for raw, place in placed if (row := by_row(raw, place, org_id)) is not None], rows)
    _same("decode_table", by_table(chunk, org_id), rows)
    return Counter("taken" if one[0] == "taken" else str(one[2]) for one in wanted)


def _same(decoder: str, found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> None:
    for one, other in zip(found, wanted, strict=False):
        assert one == other, f"{decoder} has {one}, the reference {other}"
    assert len(found) == len(wanted), f"{decoder} has {len(found)}, the reference {len(wanted)}"


def chunks(random: Random, lines: list[bytes]) -> list[Chunk]:
    """The lines as chunks; the last one sometimes lacks its newline, some have offsets of their own."""
    found: list[Chunk] = []
    offset = random.choice((0, 1, 2**40))
    while lines:
        count = random.choice((1, 2, 3, 8, len(lines)))
        payload = b"\n".join(lines[:count]) + b"\n"
        lines = lines[count:]
        if not lines and random.random() < 0.5:
            payload = payload[:-1]
        ends = offset + len(payload)
        each = None
        if random.random() < 0.2:
            held = payload.count(b"\n") + (not payload.endswith(b"\n") and payload != b"")
            each = offset + np.cumsum([random.randint(1, 3) for _ in range(held)], dtype=np.int64)
        found.append(Chunk("events", 0, payload, offset, ends, offsets=each))
        offset = ends
    return found


def play(number: int, kept: list[bytes]) -> Counter[str]:
    """One round. Raises AssertionError, or what the decoder raised, with the line that did it."""
    random = Random(number)
    org_id = random.choice((None, None, "acme"))
    table = random.choice((None, SeriesTable(), SeriesTable(series_max=8)))
    lines = [line_of(random, kept) for _ in range(LINES_A_ROUND)]
    seen: Counter[str] = Counter()
    with patch.object(schemas.decode.chunk, "Payload", GuardedPayload):
        for chunk in chunks(random, lines):
            try:
                seen += check_chunk(chunk, org_id, table)
            except Exception as error:
                raise AssertionError(_told(number, chunk, org_id, error)) from error
    return seen


def _told(number: int, chunk: Chunk, org_id: str | None, error: Exception) -> str:
    """The finding, with the one line that is enough for it where there is one."""
    for raw in chunk.payload.split(b"\n"):
        try:
            check_chunk(Chunk("events", 0, raw + b"\n", 0, len(raw) + 1), org_id, None)
        except Exception as alone:
            return f"round {number}, org_id {org_id!r}: {raw!r}\n  {type(alone).__name__}: {alone}"
    return f"round {number}, org_id {org_id!r}: {chunk.payload!r}\n  {type(error).__name__}: {error}"


def main() -> int:
    """0 when nothing differed."""
    options = _options()
    faulthandler.enable()
    until_s = time.monotonic() + 60 * options.minutes
    number, kept = options.first, corpus()
    seen: Counter[str] = Counter()
    findings, reported_s = 0, 0.0
    while time.monotonic() < until_s:
        if time.monotonic() - reported_s > _REPORT_S:
            reported_s = time.monotonic()
            print(f"round {number}: {sum(seen.values())} lines, {findings} findings", file=sys.stderr, flush=True)
        try:
            seen += play(number, kept)
        except AssertionError as found:
            findings += 1
            print(found, flush=True)
        number += 1
    print(
        f"{number - options.first} rounds, {sum(seen.values())} lines, {findings} findings: {dict(seen.most_common())}"
    )
    return 1 if findings else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.schemas.decode_hunt", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--first", type=int, default=Random().randrange(10**9), help="the first round; chance without")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
