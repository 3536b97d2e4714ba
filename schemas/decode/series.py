"""The distinct series of events, by code: Python sees each of them once."""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.batch import SeriesKey
from schemas.decode.buffers import address
from schemas.decode.columns import SERIES_FIELDS, Dictionary, put_codes

# About 100 MB when full.
SERIES_MAX: Final = 262_144


class SeriesTable:
    """Codes of series that last from chunk to chunk, so that what follows from a code is worked out once.

    `keys[code]` is the series. The list only grows, until it would pass `series_max`: then there is a new list and
    codes start anew. For one thread at a time. Series are told apart by 64-bit hashes: among a million, two are taken
    for one with a chance of 3e-8.
    """

    def __init__(self, series_max: int = SERIES_MAX) -> None:
        self._series_max = series_max
        self._start_anew()

    def _start_anew(self) -> None:
        self.keys: list[SeriesKey] = []
        self._words: dict[bytes, str] = {}
        self._hashes = np.empty(0, np.uint64)
        self._slots = np.full(1, -1, np.int32)
        self._distinct = np.zeros(1, np.int64)
        self._places = np.empty((0, len(SERIES_FIELDS), 2), np.int64)

    def begin_chunk(self, lines: int) -> None:
        """Start anew where a chunk of so many lines, each with a series of its own, would pass the bound."""
        if self.keys and len(self.keys) + lines > self._series_max:
            self._start_anew()

    def dictionary(self, lines: int) -> Dictionary:
        """Addresses for so many lines of the chunk, each of which may have a new series."""
        known, room = len(self.keys), len(self.keys) + lines
        if room > len(self._hashes):
            # Doubled, and at most half full, so that growing and looking up stay cheap.
            grown = np.empty(2 * room, np.uint64)
            grown[:known] = self._hashes[:known]
            self._hashes, self._slots = grown, np.full(1 << (4 * room).bit_length(), -1, np.int32)
            put_codes(grown[:known], self._slots)
        self._places = np.empty((lines, len(SERIES_FIELDS), 2), np.int64)
        self._distinct[0] = known
        return Dictionary(
            slots=address(self._slots),
            mask=len(self._slots) - 1,
            hashes=address(self._hashes),
            places=address(self._places),
            first=known,
            distinct=address(self._distinct),
        )

    def learn(self, text: bytes, org_id: str) -> None:
        """Take the series found since; `text` is what their places refer to, `org_id` that of lines that name none."""
        known = len(self.keys)
        for places in self._places[: int(self._distinct[0]) - known].tolist():
            org, *dimensions = [self._word(text[start : start + length]) for start, length in places]
            self.keys.append(SeriesKey._make((org or org_id, *dimensions)))
        self._places = self._places[:0]

    def _word(self, text: bytes) -> str:
        """The text as a string; series with a word in common share one, whose hash Python keeps."""
        word = self._words.get(text)
        if word is None:
            word = self._words[text] = text.decode()
        return word


class Uncoded:
    """Stands for a table where nobody asks for codes of series."""

    def begin_chunk(self, lines: int) -> None:
        """Nothing to make room for."""

    def dictionary(self, lines: int) -> Dictionary:
        """No addresses: the kernels leave series alone."""
        return Dictionary(slots=0, mask=0, hashes=0, places=0, first=0, distinct=0)

    def learn(self, text: bytes, org_id: str) -> None:
        """Nothing was found."""
