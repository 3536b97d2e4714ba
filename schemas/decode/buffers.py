"""What the kernels read and fill: arrays that live as long as their addresses are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.decode.columns import Rows, Source
from schemas.decode.keys import SPANS
from schemas.decode.scan import count_newlines
from schemas.decode.tables import require_padding
from schemas.decode.words import HIGHS, LOADED_PAST, ZERO

# Bytes behind a text that loads may reach.
PADDING: Final = 32
require_padding(PADDING, LOADED_PAST, "PADDING in schemas/decode/buffers.py")


def address(array: NDArray[np.generic]) -> int:
    """Where the array's elements are."""
    return array.ctypes.data


def padded(text: bytes) -> NDArray[np.uint8]:
    """The bytes, and behind them as many as a kernel may touch."""
    return np.frombuffer(text + bytes(PADDING), np.uint8)


class Payload:
    """A payload of whole lines, readable past its end: its last lines are read in a padded copy."""

    def __init__(self, payload: bytes) -> None:
        self.bytes = payload if not payload or payload.endswith(b"\n") else payload + b"\n"
        self._tail_start = self.bytes.rfind(b"\n", 0, max(0, len(self.bytes) - PADDING)) + 1
        self._tail = padded(self.bytes[self._tail_start :])
        self._view = np.frombuffer(self.bytes, np.uint8)
        whole = len(self.bytes) // 8 * 8
        # Several times as fast as bytes.count.
        self.lines = count_newlines(address(self._view), whole) + self.bytes.count(b"\n", whole)

    def source(self) -> Source:
        """The addresses of the payload; good as long as this object lives."""
        return Source(
            base=address(self._view),
            tail_base=address(self._tail) - self._tail_start,
            tail_start=self._tail_start,
            refused=self._refused_bits(),
        )

    def _refused_bits(self) -> np.uint64:
        if self.bytes.isascii():
            return ZERO
        try:
            self.bytes.decode()
        except UnicodeDecodeError:
            return HIGHS
        return ZERO


@dataclass(slots=True)
class Columns:
    """Columns with one row a line; `texts` has address and length of every text, or no rows."""

    type: NDArray[np.uint8]
    ts_ms: NDArray[np.int64]
    cost_micros: NDArray[np.int64]
    revenue_micros: NDArray[np.int64]
    event_hash: NDArray[np.uint64]
    actor: NDArray[np.uint64]
    series_code: NDArray[np.int32]
    texts: NDArray[np.int64]

    @classmethod
    def empty(cls, lines: int, *, with_texts: bool) -> Columns:
        """Room for so many lines."""
        numbers, hashes = np.empty((3, lines), np.int64), np.empty((2, lines), np.uint64)
        return cls(
            type=np.empty(lines, np.uint8),
            ts_ms=numbers[0],
            cost_micros=numbers[1],
            revenue_micros=numbers[2],
            event_hash=hashes[0],
            actor=hashes[1],
            series_code=np.empty(lines, np.int32),
            texts=np.empty((lines if with_texts else 0, SPANS, 2), np.int64),
        )

    def rows(self) -> Rows:
        """The columns' addresses."""
        return Rows(
            type=address(self.type),
            ts_ms=address(self.ts_ms),
            cost_micros=address(self.cost_micros),
            revenue_micros=address(self.revenue_micros),
            event_hash=address(self.event_hash),
            actor=address(self.actor),
            series_code=address(self.series_code),
            texts=address(self.texts) if len(self.texts) else 0,
        )
