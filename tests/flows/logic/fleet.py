"""Campaign shards that are fed a rich random history: several organisations, zones, budgets, people, bids, clocks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.registry import CampaignKey, Limits
from flows.logic.campaigns.reshard import reshard
from flows.logic.campaigns.shard import CampaignShard
from flows.logic.routing import CampaignRoutes
from flows.logic.step import Output, Step
from schemas.batch import EventBatch, SeriesKey
from schemas.control import CampaignRecord, ControlRecord, DecisionWordRecord, OverrideRecord
from schemas.corrections import Cause, Correction, Grain
from schemas.decisions import Decision, decode_decision, encode_decision
from schemas.kpis import KpiBatch
from schemas.live import LiveFrame, encode_live
from schemas.serving import encode_serving
from schemas.topics import partition_of
from tests.flows.logic.stream import CLICK, CONVERSION, IMPRESSION, LEAD, hashed
from tests.support.series import series_of

# Ten minutes before a midnight in Berlin that begins an ISO week.
T0 = 1_776_030_600_000
ORGS = ("o1", "o2", "o3")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York")
# Beyond so many series of a campaign there is `~other`.
LIMITS = Limits(series_per_campaign=6)
OFFSETS_MS = (0, 1, 900, 4_000, -700, -9_000, -61_000, -640_000, -3_900_000, -90_000_000, 50_000, 3_000_000)
_WHERE = ("org_id", "campaign_id", "level", "creative_id", "channel", "country", "device", "window", "window_start_ms")
_NUMBERS = ("window_end_ms", "impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros", "reach")

# What a step brought: by campaign, the positions of duplicates and of late events, corrections that came again.
Seen = tuple[dict[CampaignKey, list[Any]], list[int], list[int], int]


@dataclass(frozen=True)
class Event:
    """One event."""

    key: int
    ts_ms: int
    series: SeriesKey
    type: int = IMPRESSION
    cost: int = 0
    revenue: int = 0
    actor: int = 1


def batch_of(rows: list[tuple[int, Event]]) -> EventBatch:
    """A batch of events with their positions."""
    series = sorted({event.series for _, event in rows})
    code = {key: number for number, key in enumerate(series)}

    def column(values: Iterable[int], kind: type[np.generic]) -> Any:
        return np.array(list(values), kind)

    return EventBatch(
        position=column((position for position, _ in rows), np.int64),
        type=column((event.type for _, event in rows), np.uint8),
        ts_ms=column((event.ts_ms for _, event in rows), np.int64),
        cost_micros=column((event.cost for _, event in rows), np.int64),
        revenue_micros=column((event.revenue for _, event in rows), np.int64),
        event_hash=column((hashed(event.series[:2], event.key) for _, event in rows), np.uint64),
        actor=column((hashed("actor", event.actor) if event.actor else 0 for _, event in rows), np.uint64),
        series_code=column((code[event.series] for _, event in rows), np.int32),
        series=series_of(series),
    )


@dataclass
class Fleet:
    """So many campaign shards over so many partitions."""

    shards: int = 1
    partitions: int = 2
    limits: Limits = LIMITS
    dedupe_ids: int = 65_536
    campaigns: list[CampaignShard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.routes = CampaignRoutes(self.shards)
        self.campaigns = [
            CampaignShard(shard, self.shards, self.partitions, self.limits, self.memory())
            for shard in range(self.shards)
        ]

    def memory(self) -> Duplicates:
        """An empty memory of ids."""
        return Duplicates(self.partitions, self.dedupe_ids)

    def feed(self, step: Step) -> Seen:
        """What the shards say to a step. Every campaign's live row is asked for."""
        outputs = []
        for shard, part in enumerate(self.routes.split(step)):
            camp = self.campaigns[shard].arrays.campaigns_used()
            camp["stale"][camp["home"] >= 0] = 1
            outputs.append(self.campaigns[shard].step(part))
        return seen_of(outputs)

    def drain(self) -> Seen:
        """What was not reported yet."""
        return seen_of([shard.drain() for shard in self.campaigns])

    def reshard(self, shards: int, partitions: int | None = None, dedupe_ids: int | None = None) -> Fleet:
        """The same campaigns in so many shards."""
        old, self.shards = self.campaigns, shards
        self.partitions = self.partitions if partitions is None else partitions
        self.dedupe_ids = self.dedupe_ids if dedupe_ids is None else dedupe_ids
        self.routes = CampaignRoutes(shards)
        self.campaigns = [reshard(old, shard, shards, self.memory(), limits=self.limits) for shard in range(shards)]
        return self

    def every_key(self) -> set[CampaignKey]:
        """All campaigns there are."""
        return {key for shard in self.campaigns for _, key in shard.registry.campaigns.used()}


def seen_of(outputs: list[Output]) -> Seen:
    """Outputs by campaign. Where decisions and rows of several campaigns stand is not told, all else is."""
    found: dict[CampaignKey, list[Any]] = {}
    for output in outputs:
        for decision in output.decisions:
            found.setdefault(CampaignKey(decision.org_id, decision.campaign_id), []).append(encode_decision(decision))
        for row in sorted(row for batch in output.kpis for row in every_row(batch)):
            found.setdefault(CampaignKey(str(row[0]), str(row[1])), []).append(row)
        for said in output.serving:
            found.setdefault(CampaignKey(said.org_id, said.campaign_id), []).append(encode_serving(said))
        for applied in output.applied:
            for place, correction in enumerate(applied.corrections):
                outcome = place in applied.late, place in applied.refused
                of = found.setdefault(CampaignKey(correction.org_id, correction.campaign_id), [])
                of.append((correction.correction_id, *outcome, applied.partition, applied.now_ms))
        for live in output.live:
            frame = encode_live(LiveFrame(now_ms=0, rows=[live]))
            found.setdefault(CampaignKey(live.org_id, live.campaign_id), []).append(frame)
    verdicts = [verdict for output in outputs for verdict in output.verdicts]
    duplicates = sorted(position for verdict in verdicts for position in verdict.duplicates)
    late = sorted(position for verdict in verdicts for position in verdict.late)
    return found, duplicates, late, sum(output.corrections_again for output in outputs)


def every_row(packed: KpiBatch) -> list[tuple[Any, ...]]:
    """All that a record says of each window: whose it is and when, its version, whether it is closed, its numbers."""
    batch = packed.columns()
    names = (*_WHERE, "version", "closed", *_NUMBERS)
    return list(zip(*(getattr(batch, name) for name in names), strict=True))


class History:
    """Steps made at random from a seed, and from what was decided so far."""

    def __init__(self, seed: int, partitions: int = 2) -> None:
        self.rng = random.Random(seed)
        self.partitions = partitions
        self.now_ms = T0
        self.read_ms = T0
        self.offsets = [0] * partitions
        self.keys = [SeriesKey(org, f"c{number}", "", "", "", "") for org in ORGS for number in range(4)]
        self.versions: dict[tuple[str, ...], int] = {}
        self.decided: list[Decision] = []
        self.old: list[Event] = []
        self.corrected: list[Correction] = []
        self.count = 0

    def steps(self) -> list[Step]:
        """A round: events for each partition, then a tick with control records for each."""
        rng, found = self.rng, []
        for partition in range(self.partitions):
            events = self._events(partition)
            if events:
                found.append(self._span(partition, events))
        self.now_ms += rng.choice((1_000, 1_000, 1_000, 1_000, 15_000, 61_000, 400_000, 1_300_000, 14_000_000))
        if rng.random() < 0.03:
            self.now_ms += 90_000_000
        control = [self._control() for _ in range(rng.choice((0, 0, 1, 2, 6)))]
        for partition in range(self.partitions):
            mine = [record for record in control if partition_of(record.campaign_id, self.partitions) == partition]
            offset = self.offsets[partition]
            corrections = self._corrections(partition)
            found.append(self._step(partition, offset, offset, tick=True, control=mine, corrections=corrections))
        return found

    def _corrections(self, partition: int) -> list[Correction]:
        """Corrections of events of some time ago, now and then ones that came before."""
        rng = self.rng
        of = [event for event in self.old if partition_of(event.series.campaign_id, self.partitions) == partition]
        made = [self._correction(rng.choice(of)) for _ in range(rng.choice((0, 0, 0, 1, 3)) if of else 0)]
        known = [one for one in self.corrected if partition_of(one.campaign_id, self.partitions) == partition]
        self.corrected = (self.corrected + made)[-50:]
        return made + ([rng.choice(known)] if known and rng.random() < 0.2 else [])

    def _correction(self, event: Event) -> Correction:
        rng = self.rng
        return Correction(
            correction_id=f"x{rng.randrange(2**40)}",
            ts_ms=event.ts_ms,
            cause=rng.choice((Cause.LATE_DUPLICATE, Cause.REFUND)),
            grain=rng.choice((Grain.MOMENT, Grain.MOMENT, Grain.DAY)),
            impressions=rng.choice((0, -1)),
            spend_micros=rng.choice((-1_000, -3_000, 2_000)),
            **{name: text for name, text in event.series._asdict().items() if text},
        )

    def learn(self, seen: Seen) -> None:
        """Remember what was decided, so that people can speak of it."""
        told = [
            one
            for ones in seen[0].values()
            for one in ones
            if isinstance(one, bytes) and one.startswith(b'{"decision_id"')
        ]
        self.decided = (self.decided + [decode_decision(one) for one in told])[-60:]

    def _step(self, partition: int, first: int, behind: int, **more: Any) -> Step:
        self.read_ms += 100_000
        return Step(partition, first, behind, self.now_ms, self.read_ms, **more)

    def _span(self, partition: int, events: list[Event]) -> Step:
        first = self.offsets[partition]
        self.offsets[partition] = first + 10 * len(events)
        rows = [(first + 10 * place, event) for place, event in enumerate(events)]
        return self._step(partition, first, self.offsets[partition], batch=batch_of(rows))

    def _events(self, partition: int) -> list[Event]:
        rng = self.rng
        mine = [key for key in self.keys if partition_of(key.campaign_id, self.partitions) == partition]
        events: list[Event] = []
        for _ in range(rng.choice((0, 3, 20))):
            dice = rng.random()
            if dice < 0.1 and self.old:
                again = rng.choice(self.old)
                if partition_of(again.series.campaign_id, self.partitions) == partition:
                    events.append(again)
            elif dice < 0.15:
                fresh = SeriesKey(rng.choice(ORGS), f"u{rng.randrange(200)}", "", "", "", "")
                if partition_of(fresh.campaign_id, self.partitions) == partition:
                    events.append(self._event(fresh))
            elif mine:
                events.append(self._event(rng.choice(mine)))
        if mine and rng.random() < 0.05:
            # So many people that sketches become dense.
            crowded = rng.choice(mine)
            events += [self._event(crowded, actor=1_000 + self.count) for _ in range(600)]
        self.old = (self.old + events)[-300:]
        return events

    def _event(self, campaign: SeriesKey, actor: int | None = None) -> Event:
        rng = self.rng
        self.count += 1
        series = campaign._replace(
            creative_id=f"cr{min(rng.randrange(9), rng.randrange(9))}",
            country=rng.choice(("", "de", "fr")),
            device=rng.choice(("", "ü", "phone")),
        )
        kind = rng.choice((IMPRESSION,) * 12 + (CLICK,) * 3 + (CONVERSION, LEAD))
        return Event(
            self.count,
            self.now_ms + rng.choice(OFFSETS_MS if rng.random() < 0.3 else OFFSETS_MS[:6]),
            series,
            kind,
            rng.choice((0, 0, 700, 1_900)),
            rng.choice((0, 9_000)) if kind == CONVERSION else 0,
            rng.randrange(400) if actor is None else actor,
        )

    # -- what people set ----------------------------------------------------------------------------------------

    def _version(self, *of: str) -> int:
        self.versions[of] = self.versions.get(of, 0) + 1
        # Now and then one that is known already comes again.
        return self.versions[of] - (self.rng.random() < 0.1)

    def _control(self) -> ControlRecord:
        rng = self.rng
        org_id, campaign_id = rng.choice(self.keys)[:2]
        dice = rng.random()
        mine = [decision for decision in self.decided if decision.org_id == org_id]
        if dice < 0.25 and mine:
            decision = rng.choice(mine)
            return DecisionWordRecord(
                key=f"decision_word/{org_id}/{decision.decision_id}", org_id=org_id,
                campaign_id=decision.campaign_id, version=self._version("word", decision.decision_id),
                changed_by="ana", changed_ms=0, decision_id=decision.decision_id,
                word=rng.choice(("approve", "reject", "undo")),
            )  # fmt: skip
        if dice < 0.5:
            action = rng.choice(("pause", "resume", "set_bid", "lift"))
            return OverrideRecord(
                key=f"override/{org_id}/{campaign_id}", org_id=org_id, campaign_id=campaign_id,
                version=self._version("override", org_id, campaign_id), changed_by="ana", changed_ms=0, action=action,
                bid_micros=rng.randrange(1, 9) * 300_000 if action == "set_bid" else None,
            )  # fmt: skip
        return self._definition(org_id, campaign_id)

    def _definition(self, org_id: str, campaign_id: str) -> CampaignRecord:
        rng = self.rng
        budgets = {"daily_budget_micros": 12_000, "weekly_budget_micros": 30_000, "total_budget_micros": 80_000}
        some: dict[str, Any] = {
            name: limit * rng.randrange(1, 4) for name, limit in budgets.items() if rng.random() < 0.5
        }
        if rng.random() < 0.2:
            some |= {"start_ms": T0 + 3_600_000, "end_ms": T0 + rng.randrange(10) * 86_400_000 + 7_200_000}
        if rng.random() < 0.7:
            some["bidding"] = self._bidding()
        record = CampaignRecord(
            key=f"campaign/{org_id}/{campaign_id}",
            org_id=org_id,
            campaign_id=campaign_id,
            version=self._version("campaign", org_id, campaign_id),
            changed_by="ana",
            changed_ms=0,
            campaign={
                "campaign_id": campaign_id, "org_id": org_id, "name": campaign_id, "currency": "EUR",
                "time_zone": rng.choice(ZONES), **some,
            },
        )  # fmt: skip
        record.definition()
        return record

    def _bidding(self) -> dict[str, Any]:
        rng = self.rng
        strategy = rng.choice(("max_clicks", "max_conversions", "target_cpa", "manual"))
        return {
            "strategy": strategy,
            "bid_micros": 800_000,
            "learning_events": rng.choice((0, 5)),
            "mode": rng.choice(("auto", "auto", "recommend", "dry_run")),
            **({"target_cpa_micros": 5_000} if strategy == "target_cpa" else {}),
        }
