"""Small event streams for tests of the dataflow's logic: how to write them down, and how to run them."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.registry import Limits
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.routing import CampaignRoutes
from flows.logic.step import Output, Step
from schemas.batch import EventBatch, SeriesKey
from schemas.control import CampaignRecord, ControlRecord, OverrideRecord
from schemas.corrections import Correction
from schemas.kpis import KpiBatch
from tests.support.series import series_of

IMPRESSION, CLICK, CONVERSION, LEAD = 1, 2, 3, 4


@dataclass(frozen=True)
class Ev:
    """One event; `key` stands for its event_id."""

    key: int
    ts_ms: int
    campaign: str = "a"
    creative: str = "x"
    type: int = IMPRESSION
    cost: int = 0
    revenue: int = 0
    actor: int = 1
    device: str = ""


@dataclass(frozen=True)
class Tick:
    """A control point: the clock and what came into force."""

    now_ms: int
    control: tuple[ControlRecord, ...] = ()
    corrections: tuple[Correction, ...] = ()


Item = Ev | Tick


def hashed(*parts: object) -> int:
    """A 64-bit hash that is never 0."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") | 1 << 63


def batch_of(events: list[tuple[int, Ev]]) -> EventBatch:
    """A batch of events with their positions; series are listed anew, as another process would."""
    series = sorted({SeriesKey("o", e.campaign, e.creative, "", "", e.device) for _, e in events})
    code = {key: number for number, key in enumerate(series)}
    return EventBatch(
        position=np.array([p for p, _ in events], np.int64),
        type=np.array([e.type for _, e in events], np.uint8),
        ts_ms=np.array([e.ts_ms for _, e in events], np.int64),
        cost_micros=np.array([e.cost for _, e in events], np.int64),
        revenue_micros=np.array([e.revenue for _, e in events], np.int64),
        event_hash=np.array([hashed(e.campaign, e.key) for _, e in events], np.uint64),
        actor=np.array([hashed("actor", e.actor) if e.actor else 0 for _, e in events], np.uint64),
        series_code=np.array(
            [code[SeriesKey("o", e.campaign, e.creative, "", "", e.device)] for _, e in events], np.int32
        ),
        series=series_of(series),
    )


def steps_of(items: list[Item], span: int, now_ms: int) -> list[Step]:
    """Spans of at most `span` events; a tick is a span of its own. `now_ms` is the clock before the first tick."""
    steps: list[Step] = []
    waiting: list[tuple[int, Ev]] = []
    offset = 0

    def close() -> None:
        nonlocal waiting
        if waiting:
            first, last = waiting[0][0], waiting[-1][0]
            steps.append(Step(0, first, last + 10, now_ms, now_ms, batch=batch_of(waiting)))
            waiting = []

    for item in items:
        if isinstance(item, Tick):
            close()
            now_ms = item.now_ms
            step = Step(0, offset, offset, now_ms, now_ms, tick=True, control=list(item.control))
            steps.append(replace(step, corrections=list(item.corrections)))
        else:
            waiting.append((offset, item))
            offset += 10
            if len(waiting) == span:
                close()
    close()
    return steps


@dataclass
class Flow:
    """Campaign shards wired as the dataflow has them."""

    shards: int = 1
    dedupe_ids: int = 4_096
    limits: Limits = field(default_factory=Limits)
    outputs: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.routes = CampaignRoutes(self.shards)
        self.campaigns = [
            CampaignShard(k, self.shards, 1, self.limits, Duplicates(1, self.dedupe_ids)) for k in range(self.shards)
        ]

    def run(self, steps: list[Step]) -> Flow:
        for step in steps:
            for shard, part in enumerate(self.routes.split(step)):
                self.outputs.append(self.campaigns[shard].step(part))
        return self

    def restart(self, without: str = "") -> Flow:
        """The stage restored from its pickled snapshots, as if they had no part of a name; the outputs so far stay."""
        snapshots = pickle.loads(pickle.dumps([s.snapshot() for s in self.campaigns]))
        snapshots = [{name: part for name, part in s.items() if name != without} for s in snapshots]
        self.campaigns = [
            CampaignShard.restore(s, k, self.shards, 1, self.limits, Duplicates(1, self.dedupe_ids))
            for k, s in enumerate(snapshots)
        ]
        return self

    def drain(self) -> Flow:
        self.outputs += [shard.drain() for shard in self.campaigns]
        return self

    def decisions(self) -> list[Any]:
        return [decision for output in self.outputs for decision in output.decisions]

    def windows(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        """The last row of each window: its numbers without reach."""
        return windows_of([batch for output in self.outputs for batch in output.kpis])

    def late(self) -> list[int]:
        return sorted(p for output in self.outputs for verdict in output.verdicts for p in verdict.late)

    def duplicates(self) -> list[int]:
        return sorted(p for output in self.outputs for verdict in output.verdicts for p in verdict.duplicates)

    def live(self) -> dict[str, Any]:
        """The last live row of each campaign."""
        return {row.campaign_id: row for output in self.outputs for row in output.live}


def rows_of(packed: KpiBatch) -> list[tuple[tuple[Any, ...], tuple[int, ...], int]]:
    """Key, numbers and version of each row."""
    batch = packed.columns()
    keys = zip(batch.campaign_id, batch.level, batch.creative_id, batch.window, batch.window_start_ms, strict=True)
    numbers = zip(
        batch.window_end_ms,
        batch.impressions,
        batch.clicks,
        batch.conversions,
        batch.leads,
        batch.spend_micros,
        batch.revenue_micros,
        strict=True,
    )
    return list(zip(keys, numbers, batch.version, strict=True))


def windows_of(batches: list[KpiBatch]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The newest row of each window; a version never falls, and an equal version is the same row."""
    windows: dict[tuple[Any, ...], tuple[int, ...]] = {}
    versions: dict[tuple[Any, ...], int] = {}
    for batch in batches:
        for key, numbers, version in rows_of(batch):
            assert version == sum(numbers[1:5])
            assert version > versions.get(key, 0) or windows[key] == numbers
            windows[key], versions[key] = numbers, version
    return windows


def definition(campaign: str = "a", version: int = 1, **fields: Any) -> CampaignRecord:
    """A definition in euros with the given fields."""
    campaign_json = {"campaign_id": campaign, "org_id": "o", "name": campaign, "currency": "EUR", **fields}
    return CampaignRecord(
        key=campaign,
        org_id="o",
        campaign_id=campaign,
        version=version,
        changed_by="test",
        changed_ms=0,
        campaign=campaign_json,
    )


def override(action: str, campaign: str = "a", version: int = 1) -> OverrideRecord:
    """A person's word."""
    return OverrideRecord(
        key=f"{campaign}/override",
        org_id="o",
        campaign_id=campaign,
        version=version,
        changed_by="test",
        changed_ms=0,
        action=action,
    )
