"""The last hour of a campaign in 10 s points, for charts and spark lines, in a few kilobytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from schemas.kpis import WIDTH_MS, Counters, Window

STEP_MS: Final = WIDTH_MS[Window.TEN_SECONDS]
# One hour. At 40 bytes a point a full ring takes 14,400 bytes.
POINTS_MAX: Final = 360
# Ten minutes: what a spark line shows.
SPARK_POINTS: Final = 60

# Number of the window since 1970, impressions, clicks, conversions, leads, reach; then spend and revenue in micros.
_POINT: Final = struct.Struct("<6I2q")
_UINT32_MAX: Final = 2**32 - 1

# window_start_ms, impressions, clicks, conversions, leads, spend_micros, revenue_micros, reach
Point = tuple[int, int, int, int, int, int, int, int]


class PointRing:
    """At most POINTS_MAX windows in order of time; memory grows with the points there are, up to the full ring."""

    __slots__ = ("_bytes", "_count", "_first")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._count = 0
        self._first = 0

    def __len__(self) -> int:
        return self._count

    def put(self, windows: Iterable[tuple[int, Counters]]) -> None:
        """Take in windows (start, counters): a newer state of a window that is there, or one after the newest.

        Older windows that are not there are left out: a spark line does not grow into the past. So is a start before
        1970, which no window has.
        """
        for start_ms, counters in sorted(windows, key=lambda window: window[0]):
            if not 0 < start_ms < _UINT32_MAX * STEP_MS:
                continue
            index = start_ms // STEP_MS
            place = self._place_of(index)
            if place is not None:
                self._write(place, index, counters)
            elif self._count == 0 or index > self._index_at(self._count - 1):
                self._append(index, counters)

    def _append(self, index: int, counters: Counters) -> None:
        if self._count == POINTS_MAX:
            self._first = (self._first + 1) % POINTS_MAX
        else:
            self._count += 1
            self._bytes += bytes(_POINT.size)
        self._write(self._count - 1, index, counters)

    def _offset(self, place: int) -> int:
        return (self._first + place) % POINTS_MAX * _POINT.size

    def _index_at(self, place: int) -> int:
        return int.from_bytes(self._bytes[(at := self._offset(place)) : at + 4], "little")

    def _place_of(self, index: int) -> int | None:
        """A live row tells its two newest windows, so the place is one of the last few."""
        for place in range(self._count - 1, max(-1, self._count - 4), -1):
            if self._index_at(place) == index:
                return place
        return None

    def _write(self, place: int, index: int, c: Counters) -> None:
        counts = (c.impressions, c.clicks, c.conversions, c.leads, c.reach)
        bounded = (min(count, _UINT32_MAX) for count in counts)
        _POINT.pack_into(self._bytes, self._offset(place), index, *bounded, c.spend_micros, c.revenue_micros)

    def __iter__(self) -> Iterator[Point]:
        """Points of the last hour before the newest, oldest first."""
        if self._count == 0:
            return
        oldest = self._index_at(self._count - 1) - POINTS_MAX
        for place in range(self._count):
            index, impressions, clicks, conversions, leads, reach, spend, revenue = _POINT.unpack_from(
                self._bytes, self._offset(place)
            )
            if index > oldest:
                yield (index * STEP_MS, impressions, clicks, conversions, leads, spend, revenue, reach)

    def spark(self) -> tuple[int, list[int]]:
        """Start of the newest window and spend in micros of the SPARK_POINTS windows up to it, 0 where none was."""
        spend = [0] * SPARK_POINTS
        if self._count == 0:
            return 0, spend
        newest = self._index_at(self._count - 1)
        for place in range(max(0, self._count - SPARK_POINTS), self._count):
            point = _POINT.unpack_from(self._bytes, self._offset(place))
            if (back := newest - point[0]) < SPARK_POINTS:
                spend[SPARK_POINTS - 1 - back] = point[6]
        return newest * STEP_MS, spend
