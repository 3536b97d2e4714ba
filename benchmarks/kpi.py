"""Decoding and per-campaign tumbling windows in one process, nothing else: what one core can do."""

from __future__ import annotations

import csv
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.batch import EventBatch, SeriesColumns
from schemas.decode import SeriesTable, decode_chunk
from schemas.decode.kernel import inlined, kernel
from schemas.events import TS_MS_MAX, TS_MS_MIN
from schemas.log import Chunk

# Small enough for columns to stay in cache and in memory that is used again, large enough to make calls cheap.
BLOCK_BYTES: Final = 512 * 1024
HEADER: Final = (
    "campaign_id",
    "window_start_ms",
    "impressions",
    "clicks",
    "conversions",
    "cost_micros",
    "revenue_micros",
)
_FIRST_WINDOWS: Final = 4_096
_NO_CAMPAIGN: Final = -1
_WARM_UP: Final = b'{"event_id":"e","type":"click","ts":%d,"campaign_id":"c"}\n' % TS_MS_MIN


class KpiResult(msgspec.Struct, omit_defaults=True):
    """One line of JSON; seconds from opening the file to the last byte of the CSV."""

    events: int
    seconds: float
    events_per_second: float
    peak_rss_bytes: int
    rejected: int = 0


@inlined
def _slot_of(campaign: int, start: int, slots: NDArray[np.int32], keys: NDArray[np.int64]) -> int:
    """Where a window's row number is, or belongs, in the open hash table."""
    mask = slots.shape[0] - 1
    slot = (campaign * 0x2545F4914F6CDD1D + start * 0x1B873593CC9E2D51) >> 20 & mask
    while slots[slot] >= 0 and (keys[slots[slot], 0] != campaign or keys[slots[slot], 1] != start):
        slot = (slot + 1) & mask
    return int(slot)


@kernel
def _place(keys: NDArray[np.int64], used: int, slots: NDArray[np.int32]) -> None:
    """Fill an empty hash table with the windows there are."""
    for row in range(used):
        slots[_slot_of(keys[row, 0], keys[row, 1], slots, keys)] = row


@kernel
def _fold(
    type_code: NDArray[np.uint8],
    ts_ms: NDArray[np.int64],
    cost_micros: NDArray[np.int64],
    revenue_micros: NDArray[np.int64],
    campaign_of_row: NDArray[np.int64],
    window_ms: int,
    slots: NDArray[np.int32],
    keys: NDArray[np.int64],
    sums: NDArray[np.int64],
    used: int,
) -> int:
    """Add events to their windows; how many windows there are now. There must be room for one more an event."""
    for row in range(ts_ms.shape[0]):
        campaign = campaign_of_row[row]
        if campaign < 0:
            continue
        start = ts_ms[row] // window_ms * window_ms
        slot = _slot_of(campaign, start, slots, keys)
        if slots[slot] < 0:
            slots[slot] = used
            keys[used, 0] = campaign
            keys[used, 1] = start
            used += 1
        window = slots[slot]
        if type_code[row] <= 3:
            sums[window, type_code[row] - 1] += 1
        sums[window, 3] += cost_micros[row]
        sums[window, 4] += revenue_micros[row]
    return used


class Windows:
    """Sums by campaign and tumbling window. Organisations that use the same campaign_id share its windows."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._campaigns: dict[str, int] = {}
        self._series = SeriesColumns.empty()
        self._number_of_code = np.empty(0, np.int64)
        self._used = 0
        self._keys = np.zeros((_FIRST_WINDOWS, 2), np.int64)
        self._sums = np.zeros((_FIRST_WINDOWS, 5), np.int64)
        self._slots = np.full(4 * _FIRST_WINDOWS, -1, np.int32)

    def add(self, batch: EventBatch) -> None:
        """Count the events; leads without a campaign are in no window."""
        self._make_room(len(batch))
        self._learn(batch.series)
        self._used = _fold(
            batch.type,
            batch.ts_ms,
            batch.cost_micros,
            batch.revenue_micros,
            self._number_of_code[batch.series.campaign_of(batch.series_code)],
            self._window_ms,
            self._slots,
            self._keys,
            self._sums,
            self._used,
        )

    def rows(self) -> Iterator[tuple[str | int, ...]]:
        """Rows of HEADER, by campaign and start."""
        names = list(self._campaigns)
        windows = zip(self._keys[: self._used].tolist(), self._sums[: self._used].tolist(), strict=True)
        yield from sorted((names[campaign], start, *sums) for (campaign, start), sums in windows)

    def _learn(self, series: SeriesColumns) -> None:
        """The campaigns of codes that are new; the columns are those of the batch before, or others."""
        if series is not self._series:
            self._series, self._number_of_code = series, np.empty(0, np.int64)
        known = len(self._number_of_code)
        if known < series.marks[1]:
            added = np.array(
                [self._campaign(series.campaign_key(c)[1]) for c in range(known, series.marks[1])], np.int64
            )
            self._number_of_code = np.concatenate((self._number_of_code, added))

    def _campaign(self, campaign_id: str) -> int:
        if not campaign_id:
            return _NO_CAMPAIGN
        return self._campaigns.setdefault(campaign_id, len(self._campaigns))

    def _make_room(self, events: int) -> None:
        room = len(self._keys)
        while room < self._used + events:
            room *= 2
        if room == len(self._keys):
            return
        self._keys = np.concatenate((self._keys, np.zeros((room - len(self._keys), 2), np.int64)))
        self._sums = np.concatenate((self._sums, np.zeros((room - len(self._sums), 5), np.int64)))
        self._slots = np.full(4 * room, -1, np.int32)
        _place(self._keys, self._used, self._slots)


def _chunks(path: Path) -> Iterator[Chunk]:
    """The file in blocks of whole lines; a block that holds no whole line is read again, twice as large."""
    size = BLOCK_BYTES
    with path.open("rb", buffering=0) as file:
        while block := file.read(size):
            offset = file.tell() - len(block)
            end = block.rfind(b"\n") + 1
            if end == 0 and len(block) == size:
                size *= 2
                file.seek(offset)
                continue
            payload = block[:end] if end else block
            file.seek(offset + len(payload))
            yield Chunk(path.name, 0, payload, offset, offset + len(payload))


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1_024 * peak


def _write_csv(path: Path, windows: Windows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(windows.rows())


def measure(path: Path, out: Path, window_ms: int = 10_000) -> KpiResult:
    """Decode a file of events into windows of `window_ms` and write them as CSV. Duplicates count as they come.

    Compiled code is loaded, or compiled when it is not there yet, before the clock starts.
    """
    warm_up = decode_chunk(Chunk("", 0, _WARM_UP, 0, len(_WARM_UP)), now_ms=TS_MS_MAX)
    first = Windows(window_ms)
    first.add(warm_up.batch)
    first._make_room(_FIRST_WINDOWS)
    windows, series, events, rejected = Windows(window_ms), SeriesTable(), 0, 0
    started = time.perf_counter()
    for chunk in _chunks(path):
        decoded = decode_chunk(chunk, now_ms=TS_MS_MAX, series=series)
        windows.add(decoded.batch)
        events += len(decoded.batch)
        rejected += len(decoded.dead)
    _write_csv(out, windows)
    seconds = time.perf_counter() - started
    return KpiResult(events, seconds, events / seconds, _peak_rss_bytes(), rejected)
