"""The whole dataflow `decide` under Bytewax in one process: real source, journal, recovery; a sink that counts.

Copying the file into a log, defining campaigns and loading compiled code is done before the clock starts. With known
ids the flow first reads so many events of others, and the clock starts behind them: dedupe memory is full then.
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from bytewax._bytewax import run_main
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig

from benchmarks.event_files import START_MS
from flows.decide import FlowSettings, build
from flows.logic.campaigns.shard import DEDUPE_IDS
from flows.logic.step import Output
from flows.metrics import Meter
from flows.sink import Item, count_output
from flows.source import SourceOptions
from flows.store import StoreSettings, prepare
from flows.warm import load_kernels, settle_collector
from ingest.local_log import LocalLog
from schemas.control import CampaignRecord, encode_control
from schemas.decode import decode_chunk
from schemas.events import DEFAULT_ORG, TS_MS_MAX
from schemas.log import Chunk, Log
from schemas.topics import CONTROL, EVENTS, partition_of

PARTITIONS: Final = 2
# Below it a run says nothing about recovery: a snapshot is taken when an epoch closes.
EPOCHS_MIN: Final = 3
# Each campaign's daily budget is this share of what it spends in the file, so that most are paused somewhere in it.
BUDGET_SHARE: Final = 0.6
STRATEGIES: Final[tuple[dict[str, Any], ...]] = (
    {"strategy": "max_clicks", "bid_micros": 2_000_000},
    {"strategy": "target_cpa", "bid_micros": 2_000_000, "target_cpa_micros": 10_000_000},
)
_BLOCK_BYTES: Final = 8 * 2**20
_KNOWN_BLOCK: Final = 100_000
# Campaigns of the known ids, one at home in each partition.
_KNOWN_CAMPAIGNS: Final = tuple(
    next(name for n in range(1_000) if partition_of(name := f"known-{n}", PARTITIONS) == home).encode()
    for home in range(PARTITIONS)
)
_CAMPAIGN: Final = re.compile(rb'"campaign_id"\s*:\s*"([^"\\]*)"')


class PipelineResult(msgspec.Struct):
    """One line of JSON; seconds from the start of the dataflow, or from the last known id, to its end, last snapshot
    included. Epochs are those closed in that time."""

    events: int
    seconds: float
    events_per_second: float
    windows: int
    decisions: int
    duplicates: int
    dead_letters: int
    peak_rss_bytes: int
    epochs: int
    known_ids: int


class Stopwatch(Meter):
    """Counts as the flow does, and starts the clock behind the first `known_ids` lines."""

    def __init__(self, known_ids: int) -> None:
        super().__init__()
        self.known_ids = known_ids
        self.began_s = time.perf_counter()
        self._skipped = (0, 0)

    def decoded(self, partition: int, lines: int, size: int, watermark_ms: int, dead: Tally[str]) -> None:
        """Count a span."""
        before = self.lines
        super().decoded(partition, lines, size, watermark_ms, dead)
        if before < self.known_ids <= self.lines:
            self.began_s = time.perf_counter()
            self._skipped = (self.lines, self.epochs)

    def result(self) -> PipelineResult:
        """What was counted since the clock started, now that the run has ended."""
        seconds = time.perf_counter() - self.began_s
        lines, epochs = self._skipped
        return PipelineResult(
            events=self.lines - lines,
            seconds=round(seconds, 3),
            events_per_second=round((self.lines - lines) / seconds),
            windows=self.windows,
            decisions=self.decisions,
            duplicates=self.duplicates,
            dead_letters=self.dead_letters,
            peak_rss_bytes=peak_rss_bytes(),
            epochs=self.epochs - epochs,
            known_ids=self.known_ids,
        )


class CountingSink(DynamicSink[tuple[str, Item]]):
    """Counts windows and decisions and keeps nothing."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[tuple[str, Item]]:
        """The same for every worker."""
        return _Counting(self._meter)


class _Counting(StatelessSinkPartition[tuple[str, Item]]):
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def write_batch(self, items: list[tuple[str, Item]]) -> None:
        for _, item in items:
            if isinstance(item, Output):
                count_output(self._meter, item)


def measure(
    path: Path, *, epoch_seconds: float = 1.0, shards: int = 1, bidding: bool = False, known_ids: int = 0
) -> PipelineResult:
    """Run the dataflow over a file of events (NDJSON) from a fresh log to its end; `bidding`: with strategies."""
    with tempfile.TemporaryDirectory(prefix="penstock-pipeline-") as folder:
        log = LocalLog(Path(folder) / "log", partitions=PARTITIONS, fsync=False)
        fill_known(log, known_ids)
        define_campaigns(log, fill(log, path), bidding=bidding)
        log.close()
        # The flow's own log syncs as it does in production.
        return _run(
            LocalLog(Path(folder) / "log", partitions=PARTITIONS), Path(folder), epoch_seconds, shards, known_ids
        )


def fill_known(log: LocalLog, count: int) -> None:
    """So many events of a few campaigns of their own, all with different ids, a minute before generated files begin."""
    for first in range(0, count, _KNOWN_BLOCK):
        lines: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for number in range(first, min(first + _KNOWN_BLOCK, count)):
            lines[number % PARTITIONS].append(
                b'{"event_id":"known-%d","type":"impression","ts":%d,"campaign_id":"%s"}'
                % (number, START_MS - 60_000, _KNOWN_CAMPAIGNS[number % PARTITIONS])
            )
        for partition, records in enumerate(lines):
            if records:
                log.append(EVENTS, partition, records)


def fill(log: Log, path: Path) -> dict[str, int]:
    """Copy a file into `events`, each campaign into its partition; spend by campaign in micros."""
    spend: dict[str, int] = defaultdict(int)
    for payload in _blocks(path):
        lines: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for line in payload.split(b"\n")[:-1]:
            found = _CAMPAIGN.search(line)
            lines[partition_of(found[1].decode() if found else "", PARTITIONS)].append(line)
        for partition, records in enumerate(lines):
            if records:
                log.append(EVENTS, partition, records)
        batch = decode_chunk(Chunk(EVENTS, 0, payload, 0, len(payload)), now_ms=TS_MS_MAX).batch
        by_campaign = np.zeros(batch.series.marks[1], np.int64)
        np.add.at(by_campaign, batch.series.campaign_of(batch.series_code), batch.cost_micros)
        for code, cost in enumerate(by_campaign.tolist()):
            spend[batch.series.campaign_key(code)[1]] += cost
    return spend


def define_campaigns(log: Log, spend: dict[str, int], *, bidding: bool = False) -> None:
    """Define every campaign with a daily budget of BUDGET_SHARE of its spend; every other one with a goal if asked."""
    records = [
        encode_control(
            campaign_record(campaign_id, max(1, round(BUDGET_SHARE * micros)), STRATEGIES[k % 2] if bidding else None)
        )
        for k, (campaign_id, micros) in enumerate(spend.items())
        if campaign_id
    ]
    if records:
        log.append(CONTROL, 0, records)


def campaign_record(
    campaign_id: str, daily_budget_micros: int, bidding: dict[str, Any] | None = None
) -> CampaignRecord:
    """A definition as the control plane writes it."""
    definition: dict[str, Any] = {
        "campaign_id": campaign_id,
        "name": campaign_id,
        "currency": "USD",
        "daily_budget_micros": daily_budget_micros,
        "bidding": bidding,
    }
    return CampaignRecord(
        key=f"campaign/{DEFAULT_ORG}/{campaign_id}",
        org_id=DEFAULT_ORG,
        campaign_id=campaign_id,
        version=1,
        changed_by="bench",
        changed_ms=0,
        campaign=definition,
    )


def _run(log: LocalLog, folder: Path, epoch_seconds: float, shards: int, known_ids: int) -> PipelineResult:
    load_kernels()
    settle_collector()
    store = folder / "recovery"
    prepare(store, StoreSettings(shards, PARTITIONS, log.identity()), process=0, processes=1, shared=True)
    meter = Stopwatch(known_ids)
    settings = FlowSettings(
        shards=shards, dedupe_ids=DEDUPE_IDS, recovery_dir=store, source=SourceOptions(ends=True, touches=True)
    )
    flow = build(settings, log, meter=meter, sink=CountingSink(meter))
    recovery = RecoveryConfig(store, timedelta(0))  # type: ignore[no-untyped-call]
    meter.began_s = time.perf_counter()
    run_main(flow, epoch_interval=timedelta(seconds=epoch_seconds), recovery_config=recovery)  # type: ignore[no-untyped-call]
    return meter.result()


def peak_rss_bytes() -> int:
    """The most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1_024 * peak


def _blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks of whole lines, each line with its newline."""
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
    if rest:
        yield rest + b"\n"
