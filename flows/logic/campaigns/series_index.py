"""The arrays behind a registry: made, grown, their texts compacted, taken from a snapshot."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.campaigns import series_slots as at
from flows.logic.campaigns.series_free import compact, put_slots
from flows.logic.campaigns.series_slots import Index
from flows.logic.kept import fitted
from schemas.batch import DIMENSIONS, SERIES, TEXT_PADDING, lengths_of

_ROWS_MIN: Final = 64
_TEXT_MIN: Final = 4_096


def longer(rows: NDArray[Any], room: int, fill: int = 0) -> NDArray[Any]:
    grown = np.empty(room, rows.dtype) if rows.dtype.fields else np.full(room, fill, rows.dtype)
    grown[: len(rows)] = rows
    return grown


class IndexArrays:
    """Owner of an `Index` and of the run of texts that it refers to; both grow when they are full."""

    def __init__(self, spread: np.uint64) -> None:
        self.text = np.zeros(_TEXT_MIN, np.uint8)
        self.text[: at.OTHERS_BYTES] = np.frombuffer(at.OTHERS, np.uint8)
        self.index = Index(
            series=np.empty(_ROWS_MIN, SERIES),
            series_table=np.full(4 * _ROWS_MIN, -1, np.int32),
            free=np.empty(_ROWS_MIN, np.int32),
            campaigns=np.empty(_ROWS_MIN, at.CAMPAIGN_SLOTS),
            campaign_table=np.full(4 * _ROWS_MIN, -1, np.int32),
            organisations=np.empty(_ROWS_MIN, at.ORGANISATION_SLOTS),
            folded=np.zeros(at.FOLDED_ORGS_MAX + 1, np.int64),
            marks=np.zeros(at.MARKS, np.int64),
            text=self.text.ctypes.data,
            text_room=len(self.text) - TEXT_PADDING,
            spread=spread,
        )
        self.index.marks[at.TEXT_END] = at.OTHERS_BYTES

    def append_text(self, text: bytes) -> int:
        """Where a text is from now on."""
        self.make_text_room(len(text))
        start = int(self.index.marks[at.TEXT_END])
        self.text[start : start + len(text)] = np.frombuffer(text, np.uint8)
        self.index.marks[at.TEXT_END] += len(text)
        return start

    def make_text_room(self, more: int) -> None:
        """Have room for so many bytes more."""
        if self.index.marks[at.TEXT_END] + more > self.index.text_room:
            self._take_text(longer(self.text, 2 * (len(self.text) + more)))

    def _take_text(self, text: NDArray[np.uint8]) -> None:
        self.text = text
        self.index = self.index._replace(text=text.ctypes.data, text_room=len(text) - TEXT_PADDING)

    def make_room(self, text: int) -> None:
        """Have room for one more series with so many bytes of text."""
        self.make_text_room(text)
        x = self.index
        if x.marks[at.SERIES_FREE] == 0 and x.marks[at.SERIES_END] == len(x.series):
            room = 2 * len(x.series)
            table = np.full(4 * room, -1, np.int32)
            self.index = x._replace(series=longer(x.series, room), free=longer(x.free, room), series_table=table)
            put_slots(self.index.series, np.ones(len(x.series), np.bool_), table, x.spread)

    def places(
        self, campaigns: NDArray[np.int32], series: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the texts of keys are in `text`: start and length by [key, field of SeriesKey].

        First those of campaigns, whose dimensions are empty, then those of series.
        """
        x = self.index
        rows = x.series[series]
        owners = x.campaigns[np.concatenate([campaigns, rows["campaign"]])]
        organisations = x.organisations[owners["organisation"]]
        starts, lengths = np.zeros((2, len(owners), 2 + DIMENSIONS), np.int64)
        starts[:, 0], lengths[:, 0] = organisations["start"], organisations["length"]
        starts[:, 1], lengths[:, 1] = owners["start"], owners["length"]
        own = lengths_of(rows["lengths"])
        lengths[len(campaigns) :, 2:] = own
        starts[len(campaigns) :, 2:] = rows["start"][:, None] + np.cumsum(own, axis=1) - own
        return starts, lengths

    def compact(self, organisations: int, campaigns: int) -> None:
        """Once half of the texts belong to nobody, keep only the others."""
        x = self.index
        if x.marks[at.TEXT_DEAD] > _TEXT_MIN and 2 * x.marks[at.TEXT_DEAD] > x.marks[at.TEXT_END]:
            text = np.zeros(len(self.text), np.uint8)
            compact(x, organisations, campaigns, text.ctypes.data)
            kept = int(x.marks[at.TEXT_END])
            self._take_text(longer(text[:kept], max(_TEXT_MIN, 2 * kept)))

    def make_campaign_room(self, slot: int) -> None:
        """Have a row for a campaign's slot, those below being used."""
        x = self.index
        if slot == len(x.campaigns):
            table = np.full(8 * slot, -1, np.int32)
            self.index = x._replace(campaigns=longer(x.campaigns, 2 * slot), campaign_table=table)
            put_slots(self.index.campaigns, np.ones(slot, np.bool_), table, x.spread)

    def make_organisation_room(self, number: int) -> None:
        """Have a row for an organisation's number."""
        rows = self.index.organisations
        if number == len(rows):
            self.index = self.index._replace(organisations=longer(rows, 2 * number))

    def clear_campaigns(self, count: int) -> None:
        """Have rows for so many campaigns, all of them free."""
        # A power of two, as every table's size is: a look-up goes around it by a mask.
        room = max(_ROWS_MIN, 1 << (2 * count).bit_length())
        rows = np.zeros(room, at.CAMPAIGN_SLOTS)
        rows["organisation"] = at.FREE
        self.index = self.index._replace(campaigns=rows, campaign_table=np.full(4 * room, -1, np.int32))

    def snapshot(self, *, copied: bool) -> dict[str, NDArray[Any]]:
        """Series and all texts, where they are; without copies they are good until the next step."""
        x = self.index
        used = {
            "series": x.series[: x.marks[at.SERIES_END]],
            "free": x.free[: x.marks[at.SERIES_FREE]],
            "text": self.text[: x.marks[at.TEXT_END]],
            "folded": x.folded,
        }
        return {name: rows.copy() for name, rows in used.items()} if copied else used

    def load_series(self, snapshot: dict[str, Any]) -> None:
        """Take the series of a snapshot; campaigns are there."""
        rows, text, free = fitted(snapshot["series"], SERIES), snapshot["text"], snapshot["free"]
        self.make_text_room(len(text))
        room = max(_ROWS_MIN, 1 << len(rows).bit_length())
        x = self.index = self.index._replace(
            series=longer(rows, room), series_table=np.full(4 * room, -1, np.int32), free=longer(free, room)
        )
        used = rows["campaign"] >= 0
        named = np.flatnonzero(used & (rows["start"] > 0))
        totals = rows["total"][named].astype(np.int64)
        begin = int(x.marks[at.TEXT_END])
        x.series["start"][named] += begin
        x.marks[at.TEXT_DEAD] += len(text) - totals.sum()
        self.text[begin : begin + len(text)] = text
        marks = {at.SERIES_END: len(rows), at.SERIES_FREE: len(free), at.SERIES_USED: used.sum()}
        for place, number in (marks | {at.TEXT_END: begin + len(text)}).items():
            x.marks[place] = number
        put_slots(x.series, used, x.series_table, x.spread)
        owners = rows["campaign"][used]
        np.add.at(x.campaigns["series"], owners, 1)
        np.add.at(x.organisations["series"], x.campaigns["organisation"][owners], 1)
        others = np.flatnonzero(used & (rows["start"] == 0))
        x.campaigns["other"][rows["campaign"][others]] = others
