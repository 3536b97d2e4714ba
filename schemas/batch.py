"""Events as columns: what moves through the dataflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# A series: hash of its six texts, and its own four (creative, channel, country, device), one after another from `start`
# on; `lengths` has 16 bits of length for each, the creative's lowest, `total` their sum.
SERIES: Final = np.dtype([("hash", "<u8"), ("lengths", "<u8"), ("start", "<i8"), ("campaign", "<i4"), ("total", "<u4")])
# A campaign: hash of its organisation and id, and where its id is.
CAMPAIGNS: Final = np.dtype([("hash", "<u8"), ("start", "<i8"), ("organisation", "<i4"), ("length", "<u4")])
ORGANISATIONS: Final = np.dtype([("hash", "<u8"), ("start", "<i8"), ("length", "<i8")])
# Texts of a series beside those of its campaign.
DIMENSIONS: Final = 4
# Bytes behind the texts that kernels may load.
TEXT_PADDING: Final = 32


class SeriesKey(NamedTuple):
    """What KPIs are kept by; an absent dimension is the empty string."""

    org_id: str
    campaign_id: str
    creative_id: str
    channel: str
    country: str
    device: str


def lengths_of(packed: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The lengths of four texts each, shaped [series, dimension]."""
    places = np.arange(DIMENSIONS, dtype=np.uint64) * np.uint64(16)
    return (packed[:, None] >> places & np.uint64(0xFFFF)).astype(np.int64)


def runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of all bytes of runs, one run after another.

    >>> runs(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)


class SeriesColumns:
    """The series that codes of events stand for, their campaigns and organisations: numbers, and texts in one run.

    Only ever appended to, so that codes mean the same for as long as this object lives; rows beyond the numbers in
    `marks` (series, campaigns, organisations, bytes of text) are room. No Python object stands for a series: it is
    made when somebody asks, which is for what is rare.
    """

    __slots__ = ("campaigns", "marks", "organisations", "series", "text")

    def __init__(
        self,
        series: NDArray[np.void],
        campaigns: NDArray[np.void],
        organisations: NDArray[np.void],
        text: NDArray[np.uint8],
        marks: NDArray[np.int64] | None = None,
    ) -> None:
        """All rows are used where no `marks` are given; `text` has TEXT_PADDING bytes behind its end."""
        self.series, self.campaigns, self.organisations, self.text = series, campaigns, organisations, text
        full = (len(series), len(campaigns), len(organisations), len(text) - TEXT_PADDING)
        self.marks = np.array(full, np.int64) if marks is None else marks

    @classmethod
    def empty(cls) -> SeriesColumns:
        """No series."""
        text = np.zeros(TEXT_PADDING, np.uint8)
        return cls(np.empty(0, SERIES), np.empty(0, CAMPAIGNS), np.empty(0, ORGANISATIONS), text)

    def __len__(self) -> int:
        return int(self.marks[0])

    def key(self, code: int) -> SeriesKey:
        """The series of a code."""
        _, lengths, start, campaign, _ = self.series[: len(self)][code].item()
        texts = []
        for place in range(DIMENSIONS):
            end = start + (lengths >> 16 * place & 0xFFFF)
            texts.append(self._text(start, end))
            start = end
        return SeriesKey(*self.campaign_key(campaign), *texts)

    def campaign_key(self, campaign: int) -> tuple[str, str]:
        """Organisation and id of a campaign, given its code."""
        row = self.campaigns[: self.marks[1]][campaign]
        start = int(row["start"])
        return self.org_id(int(row["organisation"])), self._text(start, start + int(row["length"]))

    def org_id(self, organisation: int) -> str:
        """The id of an organisation, given its code."""
        row = self.organisations[: self.marks[2]][organisation]
        start = int(row["start"])
        return self._text(start, start + int(row["length"]))

    def _text(self, start: int, end: int) -> str:
        return self.text[start:end].tobytes().decode()

    def every_key(self) -> list[SeriesKey]:
        """All series; for looking at, not for speed."""
        return [self.key(code) for code in range(len(self))]

    def campaign_of(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """The campaign's code of each series."""
        found: NDArray[np.int32] = self.series["campaign"][codes]
        return found

    def organisation_of(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """The organisation's code of each series."""
        found: NDArray[np.int32] = self.campaigns["organisation"][self.campaign_of(codes)]
        return found

    def take(self, codes: NDArray[np.intp]) -> SeriesColumns:
        """Only these series, numbered anew in the given order, with their campaigns, organisations and texts."""
        series = self.series[codes]
        used, series["campaign"] = np.unique(series["campaign"], return_inverse=True)
        campaigns = self.campaigns[used]
        used, campaigns["organisation"] = np.unique(campaigns["organisation"], return_inverse=True)
        organisations = self.organisations[used]
        lengths = [rows[name].astype(np.int64) for rows, name in _lengths(series, campaigns, organisations)]
        starts = np.concatenate([rows["start"] for rows in (series, campaigns, organisations)])
        all_lengths = np.concatenate(lengths)
        text = np.zeros(int(all_lengths.sum()) + TEXT_PADDING, np.uint8)
        text[:-TEXT_PADDING] = self.text[runs(starts, all_lengths)]
        begins = np.cumsum(all_lengths) - all_lengths
        parts = np.split(begins, np.cumsum([len(series), len(campaigns)]))
        for rows, part in zip((series, campaigns, organisations), parts, strict=True):
            rows["start"] = part
        return SeriesColumns(series, campaigns, organisations, text)

    @classmethod
    def joined(cls, parts: Sequence[SeriesColumns]) -> SeriesColumns:
        """The series of several one after another; one that is in two parts has two codes."""
        series, campaigns, organisations = (
            np.concatenate([getattr(part, name)[: part.marks[k]] for part in parts])
            for k, name in enumerate(("series", "campaigns", "organisations"))
        )
        sizes = np.array([part.marks for part in parts])
        before = np.cumsum(sizes, axis=0) - sizes
        series["campaign"] += np.repeat(before[:, 1], sizes[:, 0]).astype(np.int32)
        campaigns["organisation"] += np.repeat(before[:, 2], sizes[:, 1]).astype(np.int32)
        for k, rows in enumerate((series, campaigns, organisations)):
            rows["start"] += np.repeat(before[:, 3], sizes[:, k])
        text = [part.text[: part.marks[3]] for part in parts]
        return cls(series, campaigns, organisations, np.concatenate([*text, np.zeros(TEXT_PADDING, np.uint8)]))

    def __reduce__(self) -> tuple[Any, ...]:
        n_series, n_campaigns, n_organisations, end = self.marks.tolist()
        text = self.text[: end + TEXT_PADDING]
        rows = (self.series[:n_series], self.campaigns[:n_campaigns], self.organisations[:n_organisations])
        return SeriesColumns, (*rows, text)


def _lengths(*tables: NDArray[np.void]) -> list[tuple[NDArray[np.void], str]]:
    """Tables of series, campaigns and organisations, each with its column of lengths."""
    return list(zip(tables, ("total", "length", "length"), strict=True))


@dataclass(slots=True)
class EventBatch:
    """Valid events of one partition, in log order; n rows.

    `series_code[i]` is a code of `series`, which batches may share and which may grow behind the codes of this one;
    pickled, a batch takes along only its own. Hashes are 64-bit and never 0; 0 means absent. `event_hash` is
    that of (org_id, campaign_id, event_id): an event is one within its campaign.
    """

    position: NDArray[np.int64]
    type: NDArray[np.uint8]
    ts_ms: NDArray[np.int64]
    cost_micros: NDArray[np.int64]
    revenue_micros: NDArray[np.int64]
    event_hash: NDArray[np.uint64]
    # The person for reach: user_id, else device_id, else ip with user agent.
    actor: NDArray[np.uint64]
    series_code: NDArray[np.int32]
    series: SeriesColumns

    def __len__(self) -> int:
        return len(self.ts_ms)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> EventBatch:
        """The chosen rows in the given order; `series` is shared, not shortened."""
        return EventBatch(
            position=self.position[rows],
            type=self.type[rows],
            ts_ms=self.ts_ms[rows],
            cost_micros=self.cost_micros[rows],
            revenue_micros=self.revenue_micros[rows],
            event_hash=self.event_hash[rows],
            actor=self.actor[rows],
            series_code=self.series_code[rows],
            series=self.series,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        used, codes = np.unique(self.series_code, return_inverse=True)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"series_code": codes.astype(np.int32), "series": self.series.take(used.astype(np.intp))}
        return EventBatch, tuple(values.values())
