"""The scanner beside other readers of the same file, for ADR 24: `python -m benchmarks.decoders FILE --rounds 5`.

All give the columns that counting needs: type, time, cost, revenue, and a code for the series of each event. Only the
scanner also gives hashes of ids and people, bounds, reasons of refusal and every text where it is asked; the others
are shown at their best. CPU seconds of one process on one core, one reader after the other in every round, medians.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pa_json

from benchmarks.kpi import BLOCK_BYTES
from schemas.decode import SeriesTable, decode_chunk
from schemas.events import TS_MS_MAX, EventType
from schemas.log import Chunk

_NUMBERS: Final = ("ts", "cost_micros", "revenue_micros")
_SERIES: Final = ("org_id", "campaign_id", "creative_id", "channel", "country", "device")
_CODES: Final = {kind.wire: kind.value for kind in EventType}
# A block of whole lines to how many events it has.
Reader = Callable[[bytes], int]


class Wanted(msgspec.Struct):
    """What counting needs of an event; other members are skipped."""

    event_id: str
    type: str
    ts: int
    org_id: str = ""
    campaign_id: str = ""
    creative_id: str = ""
    channel: str = ""
    country: str = ""
    device: str = ""
    cost_micros: int = 0
    revenue_micros: int = 0


def _scanner() -> Reader:
    series = SeriesTable()

    def read(block: bytes) -> int:
        return len(decode_chunk(Chunk("", 0, block, 0, len(block)), now_ms=TS_MS_MAX, series=series).batch)

    return read


def _columns(
    codes: dict[Any, int], kinds: Iterable[str], numbers: Iterable[Iterable[int]], series: Iterable[Any]
) -> int:
    """What Python makes of values: arrays, and a number for each series."""
    kind = np.fromiter(map(_CODES.__getitem__, kinds), np.uint8)
    for values in numbers:
        np.fromiter(values, np.int64)
    np.fromiter((codes.setdefault(key, len(codes)) for key in series), np.int32)
    return len(kind)


def _msgspec() -> Reader:
    decoder, key, codes = msgspec.json.Decoder(Wanted), attrgetter(*_SERIES), dict[Any, int]()

    def read(block: bytes) -> int:
        rows = decoder.decode_lines(block)
        numbers = (map(attrgetter(name), rows) for name in _NUMBERS)
        return _columns(codes, (row.type for row in rows), numbers, map(key, rows))

    return read


def _of_dicts(parse: Callable[[bytes], Any]) -> Reader:
    codes, absent = dict[Any, int](), dict.fromkeys(_SERIES, "")

    def read(block: bytes) -> int:
        rows = [parse(line) for line in block.splitlines()]
        numbers = ([row.get(name, 0) for row in rows] for name in _NUMBERS)
        series = (tuple(row.get(name, "") for name in absent) for row in rows)
        return _columns(codes, map(itemgetter("type"), rows), numbers, series)

    return read


def _simdjson() -> Reader:
    parser = importlib.import_module("simdjson").Parser()
    # True: a dictionary at once, which costs less than ten look-ups in the parsed document.
    return _of_dicts(lambda line: parser.parse(line, True))


def _arrow() -> Reader:
    """Arrow's reader on one thread; series are coded within a block only."""
    kinds = [("type", pa.string()), *((name, pa.int64()) for name in _NUMBERS), *((n, pa.string()) for n in _SERIES)]
    parse = pa_json.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    options = pa_json.ReadOptions(use_threads=False, block_size=2 * BLOCK_BYTES)

    def read(block: bytes) -> int:
        table = pa_json.read_json(io.BytesIO(block), options, parse)
        for name in _NUMBERS:
            table[name].to_numpy()
        code = np.zeros(len(table), np.int64)
        for name in ("type", *_SERIES):
            part = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
            code = code * (len(part.dictionary) + 1) + part.indices.to_numpy()
        np.unique(code, return_inverse=True)
        return len(table)

    return read


def readers() -> dict[str, Reader]:
    """By name; pysimdjson where it is installed."""
    found = {
        "scanner": _scanner(),
        "msgspec": _msgspec(),
        "orjson": _of_dicts(orjson.loads),
        "arrow": _arrow(),
    }
    return found | ({"simdjson": _simdjson()} if find_spec("simdjson") else {})


def blocks(path: Path) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    left = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            whole, newline, rest = block.rpartition(b"\n")
            yield left + whole + newline
            left = rest
    if left:
        yield left


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """By reader the median CPU microseconds of an event, and its speed as a share of the scanner's, by round."""
    held = list(blocks(path))
    every = readers()
    for read in every.values():
        read(held[0])
    seconds: dict[str, list[float]] = {name: [] for name in every}
    events = 0
    for _ in range(rounds):
        for name, read in every.items():
            began = time.process_time()
            found = sum(map(read, held))
            seconds[name].append(time.process_time() - began)
            events = events or found
            if found != events:
                raise ValueError(f"{name} found {found} events, the first reader {events}")
    return {
        name: {
            "us_an_event": round(1e6 * statistics.median(taken) / events, 3),
            "of_scanner": round(
                statistics.median(ours / theirs for ours, theirs in zip(seconds["scanner"], taken, strict=True)), 3
            ),
        }
        for name, taken in seconds.items()
    }


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="Events, one JSON object a line.")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(msgspec.json.encode(measure(given.file, given.rounds)).decode())


if __name__ == "__main__":
    main()
