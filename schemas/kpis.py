"""KPI windows: counters, the rates derived from them, and the columnar record of topic `kpis`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.batch import SeriesKey


class Window(StrEnum):
    """Tumbling windows. `DAY` is the campaign's day in its own time zone (23, 24 or 25 hours)."""

    TEN_SECONDS = "10s"
    MINUTE = "1m"
    HOUR = "1h"
    DAY = "day"


class Level(StrEnum):
    """`campaign`: one row a campaign, all dimensions empty. `series`: by creative, channel, country and device."""

    CAMPAIGN = "campaign"
    SERIES = "series"


# Codes of windows and levels in a record of topic `kpis`.
WINDOWS: Final = tuple(Window)
LEVELS: Final = tuple(Level)
NUMBERS: Final = (
    "window_start_ms",
    "window_end_ms",
    "impressions",
    "clicks",
    "conversions",
    "leads",
    "spend_micros",
    "revenue_micros",
    "reach",
    "version",
)
_WIDTHS: Final = (1, 2, 4, 8)
WIDTH_MS: Final = {Window.TEN_SECONDS: 10_000, Window.MINUTE: 60_000, Window.HOUR: 3_600_000}
# Rolling windows and the step at which each moves on.
ROLLING_MS: Final = {
    "1m": (60_000, 10_000),
    "5m": (300_000, 10_000),
    "1h": (3_600_000, 60_000),
    "24h": (86_400_000, 3_600_000),
}
ALLOWED_LATENESS_MS: Final = 600_000


class Counters(msgspec.Struct, kw_only=True):
    """What is counted in a window. `reach` estimates distinct actors."""

    impressions: int = 0
    clicks: int = 0
    conversions: int = 0
    leads: int = 0
    spend_micros: int = 0
    revenue_micros: int = 0
    reach: int = 0


class Rates(msgspec.Struct, kw_only=True):
    """Derived from counters; None where the denominator is zero."""

    ctr: float | None
    cvr: float | None
    cpm_micros: float | None
    cpc_micros: float | None
    cpa_micros: float | None
    roas: float | None
    frequency: float | None


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def rates(c: Counters) -> Rates:
    """CTR = clicks/impressions, CVR = conversions/clicks, CPM, CPC and CPA in micros, ROAS = revenue/spend,
    frequency = impressions/reach. Undefined rates are None and not 0.

    >>> r = rates(Counters(impressions=2000, clicks=10, spend_micros=5_000_000))
    >>> r.ctr, r.cpc_micros, r.cpm_micros, r.cvr, r.cpa_micros, r.roas
    (0.005, 500000.0, 2500000.0, 0.0, None, 0.0)
    """
    return Rates(
        ctr=_ratio(c.clicks, c.impressions),
        cvr=_ratio(c.conversions, c.clicks),
        cpm_micros=_ratio(1_000 * c.spend_micros, c.impressions),
        cpc_micros=_ratio(c.spend_micros, c.clicks),
        cpa_micros=_ratio(c.spend_micros, c.conversions),
        roas=_ratio(c.revenue_micros, c.spend_micros),
        frequency=_ratio(c.impressions, c.reach),
    )


class Packed(msgspec.Struct, frozen=True):
    """Whole numbers of 64 bits: `base` plus each of `values`, unsigned, little-endian, `width` bytes (1, 2, 4 or 8).

    >>> list(Packed.of(np.array([1_000, 1_255])).numbers()), Packed.of(np.array([1_000, 1_255])).width
    ([np.int64(1000), np.int64(1255)], 1)
    """

    base: int
    width: int
    values: bytes

    @classmethod
    def of(cls, numbers: NDArray[Any]) -> Packed:
        """The narrowest column that holds the numbers."""
        if len(numbers) == 0:
            return cls(0, 1, b"")
        base, most = int(numbers.min()), int(numbers.max())
        width = next(width for width in _WIDTHS if most - base < 1 << (8 * width))
        return cls(base, width, (numbers.astype(np.int64) - base).astype(f"<u{width}").tobytes())

    def __len__(self) -> int:
        return len(self.values) // self.width if self.width in _WIDTHS else 0

    def numbers(self) -> NDArray[np.int64]:
        """The numbers. Raises ValueError where the width is none of those there are or does not divide the bytes."""
        if self.width not in _WIDTHS:
            raise ValueError(f"numbers of {self.width} bytes")
        numbers: NDArray[np.int64] = np.frombuffer(self.values, f"<u{self.width}").astype(np.int64) + self.base
        return numbers


class KpiColumns(msgspec.Struct, kw_only=True):
    """Some KPI windows as columns of equal length.

    A window is keyed by (org_id, campaign_id, level, creative_id, channel, country, device, window, window_start_ms).
    `version` is the number of events folded into it: a later row of a key has a higher version, an equal version is
    the same row. `closed` is 1 where the window takes no more events; a window that did not change since its last row
    has no further one when it closes.
    """

    org_id: list[str]
    campaign_id: list[str]
    level: list[str]
    creative_id: list[str]
    channel: list[str]
    country: list[str]
    device: list[str]
    window: list[str]
    window_start_ms: list[int]
    window_end_ms: list[int]
    impressions: list[int]
    clicks: list[int]
    conversions: list[int]
    leads: list[int]
    spend_micros: list[int]
    revenue_micros: list[int]
    reach: list[int]
    version: list[int]
    # Empty where nothing is known of it, as in records of before it was told.
    closed: list[int] = []

    def __len__(self) -> int:
        return len(self.version)

    def packed(self) -> KpiBatch:
        """The same windows as a record of topic `kpis`."""
        keys = [SeriesKey(*key) for key in zip(*(getattr(self, name) for name in SeriesKey._fields), strict=True)]
        owners = {key: code for code, key in enumerate(dict.fromkeys(keys))}
        numbers: dict[str, Any] = {name: Packed.of(np.array(getattr(self, name), np.int64)) for name in NUMBERS}
        texts = {text: code for code, text in enumerate(dict.fromkeys(text for key in owners for text in key))}
        codes = np.array([[texts[text] for text in key] for key in owners], np.int32).reshape(
            -1, len(SeriesKey._fields)
        )
        return KpiBatch(
            owners=Owners.of(list(texts), codes.T),
            owner=Packed.of(np.array([owners[key] for key in keys], np.int64)),
            level=Packed.of(np.array([LEVELS.index(Level(level)) for level in self.level], np.int64)),
            window=Packed.of(np.array([WINDOWS.index(Window(window)) for window in self.window], np.int64)),
            closed=Packed.of(np.array(self.closed or [0] * len(self), np.int64)),
            **numbers,
        )


class VerdictCounters(msgspec.Struct, kw_only=True):
    """How much of the counters of a record's windows is under one verdict; columns as long as the others."""

    impressions: Packed
    clicks: Packed
    spend_micros: Packed


class Owners(msgspec.Struct, kw_only=True):
    """Whose windows they are: `texts`, each once, and for each owner and field which of them it is."""

    texts: list[str]
    org_id: Packed
    campaign_id: Packed
    creative_id: Packed
    channel: Packed
    country: Packed
    device: Packed

    @classmethod
    def of(cls, texts: list[str], codes: NDArray[np.int32]) -> Owners:
        """Owners from codes of texts, shaped [field of SeriesKey, owner]."""
        return cls(texts=texts, **{name: Packed.of(codes[k]) for k, name in enumerate(SeriesKey._fields)})

    def __len__(self) -> int:
        return len(self.org_id)

    def codes(self) -> dict[str, NDArray[np.int64]]:
        """By field: which text each owner has."""
        return {name: getattr(self, name).numbers() for name in SeriesKey._fields}


class KpiBatch(msgspec.Struct, kw_only=True):
    """Some KPI windows, packed: one record of topic `kpis`. What the columns mean is said at `KpiColumns`.

    `owner` is a place in the columns of `owners`, where the dimensions of a campaign's own windows are empty; `level`
    indexes LEVELS and `window` WINDOWS. A tenth of the work of making and writing texts and numbers one by one, and
    half the bytes. Older records have a list for `owners`, six texts each.
    """

    owners: Owners | list[SeriesKey]
    owner: Packed
    level: Packed
    window: Packed
    window_start_ms: Packed
    window_end_ms: Packed
    impressions: Packed
    clicks: Packed
    conversions: Packed
    leads: Packed
    spend_micros: Packed
    revenue_micros: Packed
    reach: Packed
    version: Packed
    # 1 where the window takes no more events. None in records of before it was told.
    closed: Packed | None = None
    # What of the counters is suspect and what is invalid traffic; the rest is valid. Absent while nobody judges events.
    suspect: VerdictCounters | msgspec.UnsetType = msgspec.UNSET
    invalid: VerdictCounters | msgspec.UnsetType = msgspec.UNSET

    def __len__(self) -> int:
        return len(self.version)

    def columns(self) -> KpiColumns:
        """The windows as lists of texts and numbers. Raises ValueError where the record is not whole."""
        self.check()
        owner = self.owner.numbers().tolist()
        texts, codes = self.named()
        named = {name: [texts[code] for code in of_owner.tolist()] for name, of_owner in codes.items()}
        return KpiColumns(
            level=[LEVELS[code].value for code in self.level.numbers().tolist()],
            window=[WINDOWS[code].value for code in self.window.numbers().tolist()],
            **{name: [values[code] for code in owner] for name, values in named.items()},
            closed=self.closed_windows().tolist(),
            **{name: getattr(self, name).numbers().tolist() for name in NUMBERS},
        )

    def closed_windows(self) -> NDArray[np.int64]:
        """1 where a window is known to take no more events, else 0."""
        return np.zeros(len(self), np.int64) if self.closed is None else self.closed.numbers()

    def _verdict_columns(self) -> dict[str, Packed]:
        judged = {"suspect": self.suspect, "invalid": self.invalid}
        return {
            f"{verdict}.{name}": getattr(counters, name)
            for verdict, counters in judged.items()
            if isinstance(counters, VerdictCounters)
            for name in VerdictCounters.__struct_fields__
        }

    def named(self) -> tuple[list[str], dict[str, NDArray[np.int64]]]:
        """Texts, and by field of SeriesKey which of them each owner has."""
        if isinstance(self.owners, Owners):
            return self.owners.texts, self.owners.codes()
        texts = [text for key in self.owners for text in key]
        places = np.arange(len(texts)).reshape(-1, len(SeriesKey._fields))
        return texts, {name: places[:, k] for k, name in enumerate(SeriesKey._fields)}

    def check(self) -> None:
        """Raise ValueError where columns differ in length or a code stands for nothing."""
        bounds = {"owner": len(self.owners), "level": len(LEVELS), "window": len(WINDOWS)}
        for name in (*bounds, *NUMBERS):
            column = getattr(self, name).numbers()
            if len(column) != len(self):
                raise ValueError(f"column {name} has {len(column)} rows of {len(self)}")
            if name in bounds:
                _must_stand_for(name, column, bounds[name])
        more = self._verdict_columns() | ({} if self.closed is None else {"closed": self.closed})
        for name, packed in more.items():
            if len(packed.numbers()) != len(self):
                raise ValueError(f"column {name} has {len(packed)} rows of {len(self)}")
        texts, codes = self.named()
        for name, column in codes.items():
            if len(column) != bounds["owner"]:
                raise ValueError(f"column {name} has {len(column)} owners of {bounds['owner']}")
            _must_stand_for(name, column, len(texts))


def _must_stand_for(name: str, codes: NDArray[np.int64], count: int) -> None:
    if len(codes) and not 0 <= codes.min() <= codes.max() < count:
        raise ValueError(f"column {name} holds codes that stand for nothing")


class Verdicts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the dataflow decided about events [first_offset, next_offset) of a partition: one record of `verdicts`.

    Each of `parts` campaign shards writes its own part; a span is complete when all parts are there. Offsets not
    listed were accepted. `late` ones were stored but came after their window had closed.
    """

    partition: int
    first_offset: int
    next_offset: int
    part: int = 0
    parts: int = 1
    duplicates: list[int] = []
    late: list[int] = []
    dead: list[int] = []
