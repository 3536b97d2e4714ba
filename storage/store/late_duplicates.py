"""Events that the dataflow counted twice, as the first time was longer ago than it remembers: found by ClickHouse's key
when they are stored, and taken back by a correction.

Of rows of one key ClickHouse keeps the one stored last, so what is taken back is the row before it. The correction is
durable before the new row is inserted: a merge may remove the row before at any time, and after a kill nobody could say
any more what it was. Sent again it has the same id, by the place in the log of the row that is taken back, and the
dataflow applies it once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.external import ExternalData
from numpy.typing import NDArray

from schemas import topics
from schemas.corrections import Cause, Correction, correction_id, encode_correction
from schemas.events import EventType
from schemas.log import Log
from storage import metrics
from storage.client import Client
from storage.store.feed import GROUP
from storage.store.source import stored_since_ms

# Younger events are left to the dataflow's memory.
OLD_MS: Final = 60_000
# Keys in one question.
KEYS_MAX: Final = 20_000
# Ids sent by this process that are remembered, so that an insert that fails for hours sends nothing again.
SENT_MAX: Final = 200_000
# How far back in the log the clock of events is looked for after a start: bytes, or records of a broker.
_CLOCK_OFFSETS: Final = 4 * 2**20
_WORDS: Final = ("org_id", "campaign_id", "event_id", "creative_id", "channel", "country", "device")
_NUMBERS: Final = ("type", "ts", "log_partition", "log_offset", "cost_micros", "revenue_micros")
_COUNTER: Final = {
    EventType.IMPRESSION: "impressions",
    EventType.CLICK: "clicks",
    EventType.CONVERSION: "conversions",
    EventType.LEAD: "leads",
}
_KEY: Final = ("org_id", "campaign_id", "ts", "event_id")
_FOUND: Final = """
SELECT org_id, campaign_id, event_id, creative_id, channel, country, device, toInt8(type) AS type,
    toUnixTimestamp64Milli(ts) AS ts_ms, log_partition, log_offset, cost_micros, revenue_micros,
    toUnixTimestamp64Milli(stored_at) AS stored_ms
FROM events
WHERE (org_id, campaign_id, ts, event_id) IN
    (SELECT org_id, campaign_id, fromUnixTimestamp64Milli(ts, 'UTC'), event_id FROM wanted)
    AND stored_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
"""
_STRUCTURE: Final = ["org_id String", "campaign_id String", "ts Int64", "event_id String"]
_CLOCK: Final = """
SELECT toUnixTimestamp64Milli(max(ts)) FROM events
WHERE log_partition = {partition:UInt16} AND log_offset >= {low:Int64} AND log_offset < {high:Int64}
"""

Key = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A stored event, or one about to be: what of it was counted, where it stands in the log, and when it was stored
    (ms, by ClickHouse's clock; what is about to be stored comes last)."""

    org_id: str
    campaign_id: str
    event_id: str
    creative_id: str
    channel: str
    country: str
    device: str
    type: int
    ts_ms: int
    partition: int
    offset: int
    cost_micros: int
    revenue_micros: int
    stored_ms: int

    @property
    def key(self) -> Key:
        """What ReplacingMergeTree tells events apart by."""
        return self.org_id, self.campaign_id, self.ts_ms, self.event_id

    def taken_back(self, noted_ms: int) -> Correction:
        """The correction by which it was not counted."""
        reference = f"{self.event_id}@{self.partition}:{self.offset}"
        counter = _COUNTER[EventType(self.type)]
        return Correction(
            correction_id=correction_id(Cause.LATE_DUPLICATE, self.org_id, self.campaign_id, reference),
            org_id=self.org_id, campaign_id=self.campaign_id, ts_ms=self.ts_ms, cause=Cause.LATE_DUPLICATE,
            creative_id=self.creative_id, channel=self.channel, country=self.country, device=self.device,
            event_id=self.event_id, spend_micros=-self.cost_micros, revenue_micros=-self.revenue_micros, by="store",
            noted_ms=noted_ms, note=f"came again; this one stood at {self.offset} of events/{self.partition}",
            **{counter: -1},  # type: ignore[arg-type]
        )  # fmt: skip


class LateDuplicates:
    """Looks for what was counted before among events that are about to be stored."""

    def __init__(self, log: Log, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._log = log
        self._now_ms = now_ms
        self._partitions = log.partitions(topics.CORRECTIONS)
        # The highest event time of each partition of events so far, no later than the clock.
        self._clocks: dict[int, int] = {}
        self._since_ms: int | None = None
        self._sent: OrderedDict[str, None] = OrderedDict()

    def send(self, client: Client, table: pa.Table, partition: int) -> int:
        """Send a correction for each of the events, in the order of the log, that replaces a row already counted;
        returns how many were sent. To be called before the events are inserted. Raises what the client and the log
        raise; safe to do again."""
        if table.num_rows == 0:
            return 0
        if self._since_ms is None:
            self._since_ms = stored_since_ms(client, self._log.identity())
        old = self._old(client, table, partition)
        sent = 0
        for start in range(0, len(old), KEYS_MAX):
            sent += self._send_some(client, table, old[start : start + KEYS_MAX])
        return sent

    def _old(self, client: Client, table: pa.Table, partition: int) -> NDArray[np.intp]:
        """Rows of events that the dataflow may have forgotten."""
        ts: NDArray[np.int64] = table["ts"].cast(pa.int64()).to_numpy()
        if partition not in self._clocks:
            self._clocks[partition] = _clock(client, partition, int(table["log_offset"][0].as_py()))
        clock = np.maximum.accumulate(np.minimum(ts, self._now_ms()))
        np.maximum(clock, self._clocks[partition], out=clock)
        self._clocks[partition] = int(clock[-1])
        of_campaign: NDArray[np.bool_] = pc.not_equal(table["campaign_id"], "").to_numpy()
        return np.flatnonzero((ts < clock - OLD_MS) & of_campaign)

    def _send_some(self, client: Client, table: pa.Table, old: NDArray[np.intp]) -> int:
        wanted = table.take(pa.array(old))
        metrics.SEARCHED.inc(len(old))
        earlier: dict[Key, list[Row]] = {}
        for row in [*_stored(client, wanted, self._since_ms or 0), *_beside(table, wanted)]:
            earlier.setdefault(row.key, []).append(row)
        if not earlier:
            return 0
        ids = pa.array({key[-1] for key in earlier}, pa.string())
        again = (row for row in _rows(wanted.filter(pc.is_in(wanted["event_id"], ids))) if row.key in earlier)
        committed = _Committed(self._log)
        before = (_before(row, earlier[row.key], committed) for row in again)
        return self._append([row for row in before if row is not None])

    def _append(self, rows: Iterable[Row]) -> int:
        """Send the corrections that this process has not sent, durably."""
        by_partition: dict[int, list[Correction]] = {}
        for row in rows:
            correction = row.taken_back(self._now_ms())
            if correction.correction_id in self._sent:
                continue
            home = topics.partition_of(row.campaign_id, self._partitions)
            by_partition.setdefault(home, []).append(correction)
        for partition, corrections in by_partition.items():
            keys = [correction.campaign_id for correction in corrections]
            self._log.append(topics.CORRECTIONS, partition, [*map(encode_correction, corrections)], keys=keys)
            metrics.LATE_DUPLICATES.inc(len(corrections))
            self._sent.update(dict.fromkeys(each.correction_id for each in corrections))
        while len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)
        return sum(map(len, by_partition.values()))


class _Committed:
    """Where each partition of events is committed: what stands before is not stored again. Asked when needed."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[int, int] = {}

    def of(self, partition: int) -> int:
        if partition not in self._known:
            self._known[partition] = self._log.committed(GROUP, topics.EVENTS, partition) or 0
        return self._known[partition]


def _before(row: Row, others: Sequence[Row], committed: _Committed) -> Row | None:
    """The row that this one replaces: of those that stand before it in its partition, or were stored for good from
    another, the one stored last."""

    def is_before(other: Row) -> bool:
        end = row.offset if other.partition == row.partition else committed.of(other.partition)
        return other.offset < end

    fitting = filter(is_before, others)
    return max(fitting, key=lambda other: (other.stored_ms, other.offset), default=None)


def _clock(client: Client, partition: int, offset: int) -> int:
    """The highest event time (ms) stored from shortly before an offset; 0 when there is none."""
    named = {"partition": partition, "low": offset - _CLOCK_OFFSETS, "high": offset}
    return int(client.query(_CLOCK, parameters=named).result_rows[0][0] or 0)


def _stored(client: Client, wanted: pa.Table, since_ms: int) -> list[Row]:
    """Rows in ClickHouse with the keys of these events."""
    keys = wanted.select(_KEY)
    keys = keys.set_column(2, "ts", keys["ts"].cast(pa.int64())).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, keys.schema) as stream:
        stream.write_table(keys)
    given = ExternalData(file_name="wanted", data=sink.getvalue().to_pybytes(), fmt="ArrowStream", structure=_STRUCTURE)
    found = client.query(_FOUND, parameters={"since": since_ms}, external_data=given)
    return [Row(*values) for values in found.result_rows]


def _beside(table: pa.Table, wanted: pa.Table) -> list[Row]:
    """Rows of the table with an id that these events have twice in it, as far as ids tell."""
    times = pc.is_in(table["ts"], wanted["ts"].combine_chunks())
    near = table.filter(times)
    ids = near["event_id"].value_counts()
    twice = ids.field("values").filter(pc.greater(ids.field("counts"), 1))
    return _rows(near.filter(pc.is_in(near["event_id"], twice))) if len(twice) else []


def _rows(table: pa.Table) -> list[Row]:
    """Rows about to be stored."""
    words = [table[name].to_pylist() for name in _WORDS]
    numbers = [table[name].cast(pa.int64()).to_pylist() for name in _NUMBERS]
    return [Row(*values) for values in zip(*words, *numbers, repeat(2**62), strict=False)]
