"""Events as columns: what moves through the dataflow."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Fields whose hashes travel with an event, for models and link counting. Column k of `features` is FEATURE_FIELDS[k].
FEATURE_FIELDS: Final = (
    "ad_group_id",
    "creative_id",
    "placement_id",
    "publisher_id",
    "keyword",
    "channel",
    "platform",
    "country",
    "region",
    "device",
)


class SeriesKey(NamedTuple):
    """What KPIs are kept by; an absent dimension is the empty string."""

    org_id: str
    campaign_id: str
    creative_id: str
    channel: str
    country: str
    device: str


@dataclass(slots=True)
class EventBatch:
    """Valid events of one partition, in log order; n rows.

    `series_code[i]` indexes `series`, which batches may share and which may grow behind the codes of this one; pickled,
    a batch has its own. Hashes are 64-bit and never 0; 0 means absent. `id_hi, id_lo` hash
    (org_id, event_id) to 128 bits. `ref` hashes what a click or conversion names (its impression_id or click_id)
    by the function that gave `id_lo`, so that `ref == id_lo` ties them.
    """

    position: NDArray[np.int64]
    type: NDArray[np.uint8]
    ts_ms: NDArray[np.int64]
    cost_micros: NDArray[np.int64]
    revenue_micros: NDArray[np.int64]
    id_hi: NDArray[np.uint64]
    id_lo: NDArray[np.uint64]
    # The person for reach: user_id, else device_id, else ip with user agent.
    actor: NDArray[np.uint64]
    ref: NDArray[np.uint64]
    features: NDArray[np.uint32]
    series_code: NDArray[np.int32]
    series: list[SeriesKey]

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
            id_hi=self.id_hi[rows],
            id_lo=self.id_lo[rows],
            actor=self.actor[rows],
            ref=self.ref[rows],
            features=self.features[rows],
            series_code=self.series_code[rows],
            series=self.series,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        used = np.zeros(len(self.series), np.bool_)
        used[self.series_code] = True
        own_code = np.cumsum(used, dtype=np.int32) - np.int32(1)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["series_code"] = own_code[self.series_code]
        values["series"] = [self.series[code] for code in np.flatnonzero(used).tolist()]
        return EventBatch, tuple(values.values())
