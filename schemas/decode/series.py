"""The distinct series of events, by code: columns of numbers that grow in kernels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.batch import TEXT_PADDING, SeriesColumns
from schemas.decode.buffers import address
from schemas.decode.dictionary import Dictionary, put_codes
from schemas.decode.tables import require
from schemas.decode.words import SPREAD
from schemas.events import ID_BYTES_MAX

# About 30 MB when full of texts as they are mostly.
SERIES_MAX: Final = 262_144
# Bytes of texts, which a sender may make long.
ARENA_BYTES_MAX: Final = 64 * 2**20


def _longer(rows: NDArray[Any], used: int, room: int) -> NDArray[Any]:
    grown = np.empty(room, rows.dtype)
    grown[:used] = rows[:used]
    return grown


class _Codes:
    """A hash table of codes, grown with the rows that they are of."""

    def __init__(self, spread: np.uint64) -> None:
        self.slots = np.full(1, -1, np.int32)
        self._spread = spread

    def fit(self, rows: NDArray[np.void], used: int, room: int) -> NDArray[np.void]:
        """The rows with so much room; doubled, and the table at most half full, so that growing stays cheap."""
        if room <= len(rows):
            return rows
        grown = _longer(rows, used, 2 * room)
        self.slots = np.full(1 << (4 * room).bit_length(), -1, np.int32)
        put_codes(np.ascontiguousarray(grown["hash"][:used]), self.slots, self._spread)
        return grown


class SeriesTable:
    """Codes of series that last from chunk to chunk, so that what follows from a code is worked out once.

    `columns` only grow, until they would pass `series_max` or `text_bytes_max`: then there are new ones and codes start
    anew. For one thread at a time. `spread`, an odd number of 64 bits, has no influence on codes: see `place_of`.
    """

    def __init__(
        self, series_max: int = SERIES_MAX, text_bytes_max: int = ARENA_BYTES_MAX, spread: np.uint64 = SPREAD
    ) -> None:
        require(0 < series_max < 2**31, f"{series_max} series do not fit codes of 32 bits")
        require(int(spread) % 2 == 1, f"spread {int(spread):#x} must be odd, so that no bit of a hash is lost")
        self._spread = spread
        self._series_max = series_max
        self._text_bytes_max = text_bytes_max
        self._start_anew()

    def _start_anew(self) -> None:
        self.columns = SeriesColumns.empty()
        self._series, self._campaigns, self._organisations = (_Codes(self._spread) for _ in range(3))

    def begin_chunk(self, lines: int, size: int) -> None:
        """Start anew where a chunk of so many lines and bytes, each with a series of its own, would pass a bound."""
        known, _, _, texts = self.columns.marks.tolist()
        if known and (known + lines > self._series_max or texts + size > self._text_bytes_max):
            self._start_anew()

    def dictionary(self, lines: int, size: int) -> Dictionary:
        """Addresses, with room for so many lines of so many bytes, each of which may have a new series."""
        columns = self.columns
        known, campaigns, organisations, texts = columns.marks.tolist()
        columns.series = self._series.fit(columns.series, known, known + lines)
        columns.campaigns = self._campaigns.fit(columns.campaigns, campaigns, campaigns + lines)
        columns.organisations = self._organisations.fit(columns.organisations, organisations, organisations + lines)
        # An organisation that lines do not name, too.
        room = texts + size + ID_BYTES_MAX + TEXT_PADDING
        if room > len(columns.text):
            columns.text = _longer(columns.text, texts, 2 * room)
        return Dictionary(
            series_slots=address(self._series.slots),
            series_mask=len(self._series.slots) - 1,
            campaign_slots=address(self._campaigns.slots),
            campaign_mask=len(self._campaigns.slots) - 1,
            organisation_slots=address(self._organisations.slots),
            organisation_mask=len(self._organisations.slots) - 1,
            series=address(columns.series),
            campaigns=address(columns.campaigns),
            organisations=address(columns.organisations),
            text=address(columns.text),
            marks=address(columns.marks),
            spread=self._spread,
        )


class Uncoded:
    """Stands for a table where nobody asks for codes of series."""

    def begin_chunk(self, lines: int, size: int) -> None:
        """Nothing to make room for."""

    def dictionary(self, lines: int, size: int) -> Dictionary:
        """No addresses: the kernels leave series alone."""
        return Dictionary(*[0] * (len(Dictionary._fields) - 1), SPREAD)  # type: ignore[call-arg, arg-type]
