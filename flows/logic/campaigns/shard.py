"""The keyed stage of campaigns: which events are new, what they add up to, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flows.logic.bidding.stage import BiddingStage
from flows.logic.budgets.ledger import Cause, Ledger
from flows.logic.campaigns.corrections import Corrections
from flows.logic.campaigns.duplicates import Duplicates
from flows.logic.campaigns.registry import CampaignKey, Limits, Registry
from flows.logic.output.kpi_rows import due_kinds, kpi_batches
from flows.logic.output.live_rows import DECIDED_MAX, REFRESH_TICKS, LivePace, live_rows
from flows.logic.output.serving import ServingWords
from flows.logic.step import Output, Step
from flows.logic.windows import aggregation
from flows.logic.windows import layout as at
from flows.logic.windows.arrays import Arrays
from flows.logic.windows.emission import release_windows, select_windows
from schemas.control import CampaignRecord, ControlRecord, DecisionWordRecord
from schemas.decisions import Decision, next_sequence
from schemas.kpis import KpiBatch, Verdicts
from schemas.topics import EVENTS, partition_of

# After a jump of the log clock (the flow was down) watermarks follow by so much a tick, ten times as fast as time goes,
# so that the events that waited in the log are not late. Days and weeks begin by the clock at once.
CATCH_UP_MS: Final = 10_000
# Events that a shard remembers, so that one that comes again is known: about 21 bytes each.
DEDUPE_IDS: Final = 8_388_608


class CampaignShard:
    """Shard `shard` of `shards` by campaign; `partitions` is the number of partitions of topic `events`."""

    def __init__(
        self,
        shard: int,
        shards: int,
        partitions: int,
        limits: Limits | None = None,
        duplicates: Duplicates | None = None,
    ) -> None:
        self.shard = shard
        self.shards = shards
        self.partitions = partitions
        self.duplicates = duplicates or Duplicates(partitions, DEDUPE_IDS)
        self.registry = Registry(limits or Limits(), self.duplicates.spread)
        self.arrays = Arrays()
        self.ledger = Ledger(self.arrays, self.registry)
        self.bidding = BiddingStage(self.arrays, self.registry, self.ledger)
        self.corrections = self._corrections()
        self.words = ServingWords(self.arrays, self.registry, self.ledger, self.bidding)
        self._pace = LivePace()
        # By partition: the clock at its last tick, and how many ticks there were.
        self._ticked_ms: dict[int, int] = {}
        self._ticks: dict[int, int] = {}

    def _corrections(self) -> Corrections:
        return Corrections(self.arrays, self.registry, self.ledger, self.bidding, self.duplicates.spread)

    def step(self, span: Step) -> Output:
        """What follows from this shard's rows of a span, or from a control point."""
        output = Output()
        duplicates: list[int] = []
        if span.batch is not None and len(span.batch) > 0:
            batch, duplicates = self.duplicates.without(span.batch, span.partition)
            span = replace(span, batch=batch)
        if span.control or span.corrections:
            # What a record sees of counters must not hang on when a snapshot last added up what waits in groups.
            self.arrays.flush()
        for record in span.control:
            self._control(record, span, output)
        if span.corrections:
            self.corrections.apply(span, output)
        late = self._aggregate(span, output)
        if span.tick:
            self._tick(span, output)
        self._number(output.decisions, span.now_ms)
        self._report_live(span, output)
        if span.next_offset > span.first_offset:
            output.verdicts.append(self._verdicts(span, duplicates, late))
        return output

    def _number(self, decisions: list[Decision], now_ms: int) -> None:
        """Give decisions, which are here in the order in which they were taken, their places in that order."""
        for decision in decisions:
            row = self.arrays.campaign(self._slot(decision))
            decision.sequence = next_sequence(int(row["sequence"]), now_ms)
            row["sequence"] = decision.sequence

    def _slot(self, decision: Decision) -> int:
        slot = self.registry.campaigns.get(CampaignKey(decision.org_id, decision.campaign_id))
        assert slot is not None, "a campaign with decisions is kept"
        return slot

    def _verdicts(self, span: Step, duplicates: list[int], late: list[int]) -> Verdicts:
        return Verdicts(
            partition=span.partition,
            first_offset=span.first_offset,
            next_offset=span.next_offset,
            part=self.shard,
            parts=self.shards,
            duplicates=duplicates,
            late=late,
            dead=span.dead,
        )

    # -- rows of campaigns and series ---------------------------------------------------------------------------

    def _home(self, campaign_id: str) -> int:
        return partition_of(campaign_id, self.partitions)

    def _make_rows(self, now_ms: int) -> None:
        for slot in self.registry.new_campaigns:
            row = self.arrays.add_campaign(slot)
            row["state"] = at.UNKNOWN
            for never in ("budget_total", "budget_week", "budget_day", "step_at_ms"):
                row[never] = at.FAR_MS
            row["home"] = self._home(self.registry.campaigns.key(slot).campaign_id)
            row["total_window"] = self.arrays.take_total(slot, now_ms)
            self.ledger.begin(slot, now_ms)
        self.registry.new_campaigns.clear()
        if len(added := self.registry.take_new_series()) > 0:
            self.arrays.add_series(added, self.registry.campaign_of_series(added))

    # -- control ------------------------------------------------------------------------------------------------

    def _control(self, record: ControlRecord, span: Step, output: Output) -> None:
        """Take a record over, unless it is one that came again: versions only rise."""
        slot = self.registry.campaign(CampaignKey(record.org_id, record.campaign_id), defined=True)
        self._make_rows(span.now_ms)
        self.arrays.campaign(slot)["stale"] = 1
        if not self._is_news(slot, record):
            return
        if isinstance(record, CampaignRecord):
            output.decisions += self.bidding.note(slot, self.ledger.define(slot, record))
            output.decisions += self.bidding.define(slot)
        elif isinstance(record, DecisionWordRecord):
            output.decisions += self.bidding.word(slot, record)
        else:
            output.decisions += self.bidding.note(slot, self.ledger.override(slot, record))
            output.decisions += self.bidding.override(slot, record)
        output.serving += self.words.say([slot], span.now_ms)

    def _is_news(self, slot: int, record: ControlRecord) -> bool:
        if isinstance(record, CampaignRecord):
            return record.version > self.ledger.standing(slot).version
        return self.bidding.hears(slot, record)

    # -- events -------------------------------------------------------------------------------------------------

    def _aggregate(self, span: Step, output: Output) -> list[int]:
        """Fold the span's events in; returns the positions of late ones."""
        batch = span.batch
        if batch is None or len(batch) == 0:
            return []
        slots = self.registry.slots(batch)
        self._make_rows(span.now_ms)
        # The kernel takes each column for one stretch of memory.
        rows = at.Rows(
            slot=slots,
            type=np.ascontiguousarray(batch.type),
            ts_ms=np.ascontiguousarray(batch.ts_ms),
            cost=np.ascontiguousarray(batch.cost_micros),
            revenue=np.ascontiguousarray(batch.revenue_micros),
            actor=np.ascontiguousarray(batch.actor),
            position=np.ascontiguousarray(batch.position),
            late=np.empty(len(batch), np.int64),
        )
        self.arrays.header["late"] = 0
        row = 0
        while row < len(batch):
            row, stop = aggregation.aggregate(self.arrays.state, rows, row, span.now_ms)
            if stop == aggregation.DONE:
                break
            self._stopped(stop, span, rows, row, output)
        late: list[int] = rows.late[: self.arrays.header["late"]].tolist()
        return late

    def _stopped(self, stop: int, span: Step, rows: at.Rows, row: int, output: Output) -> None:
        """Do what the kernel cannot: `row` is the next row, for BUDGET the one behind the event that reached it."""
        if stop == aggregation.ROOM:
            self.arrays.make_room()
            return
        event = row - 1 if stop == aggregation.BUDGET else row
        ts_ms = int(rows.ts_ms[event])
        slot = int(at.columns(self.arrays.state.series)["campaign"][rows.slot[event]])
        cause = Cause(ts_ms, f"{EVENTS}/{span.partition}@{rows.position[event]}")
        if stop == aggregation.BUDGET:
            output.decisions += self.bidding.note(slot, self.ledger.budget_reached(slot, cause))
        else:
            if stop == aggregation.FIRST:
                self.arrays.campaign(slot)["seen"] = 1
                self.ledger.begin(slot, aggregation.watermark_of(ts_ms, span.now_ms))
                self.bidding.began(slot)
            output.decisions += self.bidding.note(slot, self.ledger.rollover(slot, cause))
        output.serving += self.words.say([slot], span.now_ms)

    # -- ticks --------------------------------------------------------------------------------------------------

    def _tick(self, span: Step, output: Output) -> None:
        partition = span.partition
        tick = self._ticks[partition] = self._ticks.get(partition, -1) + 1
        passed_ms = max(0, span.now_ms - self._ticked_ms.get(partition, span.now_ms))
        self._ticked_ms[partition] = max(span.now_ms, self._ticked_ms.get(partition, span.now_ms))
        camp = self.arrays.campaigns_used()
        home = camp["home"] == partition
        self._move_watermarks(camp, home, passed_ms, span.now_ms)
        clock_ms = camp["watermark_ms"] + camp["behind_ms"]
        for slot in np.flatnonzero(home & (clock_ms >= camp["boundary_ms"])).tolist():
            output.decisions += self.bidding.note(slot, self.ledger.rollover(slot, Cause(int(clock_ms[slot]))))
        output.kpis += self._report(partition, due_kinds(tick))
        output.folded = self.registry.newly_folded()
        output.decisions += self.bidding.tick(home)
        output.serving += self.words.say(sorted(self._changed(output.decisions)), span.now_ms)
        output.serving += self.words.at_tick(home, span.now_ms)
        self._forget(home)
        camp["stale"][tick % REFRESH_TICKS :: REFRESH_TICKS] |= home[tick % REFRESH_TICKS :: REFRESH_TICKS]

    def _changed(self, decisions: list[Decision]) -> set[int]:
        """Campaigns of which something else may be to be served; each is told once."""
        slots = {self._slot(decision) for decision in decisions} | self.ledger.changed
        self.ledger.changed.clear()
        return slots

    def _move_watermarks(self, camp: NDArray[np.void], home: NDArray[np.bool_], passed_ms: int, now_ms: int) -> None:
        seen = home & (camp["seen"] == 1)
        camp["behind_ms"][seen] += passed_ms
        moved = np.minimum(camp["behind_ms"][seen], CATCH_UP_MS)
        camp["watermark_ms"][seen] += moved
        camp["behind_ms"][seen] -= moved
        unseen = home & (camp["seen"] == 0)
        camp["watermark_ms"][unseen] = np.maximum(camp["watermark_ms"][unseen], now_ms)

    def _report(self, partition: int, due: NDArray[np.bool_]) -> list[KpiBatch]:
        """Report windows that changed and give back those that are closed; a negative partition means all."""
        self.arrays.flush()
        self.arrays.flush_series_reach()
        state = self.arrays.state
        room = int(self.arrays.header["windows_end"])
        report, done = np.empty(room, np.int32), np.empty(room, np.int32)
        reported, released = select_windows(state, partition, due, report, done)
        batches = kpi_batches(state, self.registry, report[:reported], self.corrections.revisions)
        release_windows(state, done[:released])
        self.corrections.forget(done[:released])
        return batches

    def _forget(self, home: NDArray[np.bool_]) -> None:
        """Free series without windows, then campaigns without windows and definition."""
        series = self.arrays.series_used()
        idle = np.flatnonzero((series["windows"] == 0) & (series["campaign"] >= 0))
        series[idle] = at.FREE
        self.registry.free_series(idle)
        camp = self.arrays.campaigns_used()
        gone = home & (camp["state"] == at.UNKNOWN) & (camp["windows"] == 0) & (camp["seen"] == 1)
        freed = [
            slot
            for slot in np.flatnonzero(gone).tolist()
            if slot not in self.ledger.standings and self.registry.series_of_campaign(slot) == 0
        ]
        for slot in freed:
            self.arrays.drop_total(int(camp["total_window"][slot]))
            self.corrections.forget(int(camp["total_window"][slot]))
            camp[slot] = 0
            camp["home"][slot] = at.FREE
        self.registry.free_campaigns(freed)

    def drain(self) -> Output:
        """All windows that changed and were not reported yet, open ones included: for the end of a bounded run."""
        return Output(kpis=self._report(-1, np.ones(8, np.bool_)))

    # -- live ---------------------------------------------------------------------------------------------------

    def _report_live(self, span: Step, output: Output) -> None:
        decided = sorted({self._slot(decision) for decision in output.decisions})[:DECIDED_MAX]
        chosen = np.array(decided, np.int64)
        if self._pace.may_be_due(span.read_ms):
            stale = np.flatnonzero(self.arrays.campaigns_used()["stale"])
            chosen = np.union1d(chosen, self._pace.due(span.read_ms, stale))
        if len(chosen) > 0:
            self.arrays.flush()
            corrected = self.corrections.revisions is not None
            rows = live_rows(self.arrays, self.registry, self.ledger, chosen, span.now_ms, corrected)
            for slot, row in zip(chosen.tolist(), rows, strict=True):
                row.bidding = self.bidding.shown(slot)
            output.live += rows
            self.arrays.campaigns_used()["stale"][chosen] = 0

    # -- snapshot -----------------------------------------------------------------------------------------------

    def snapshot(self, *, copied: bool = True, with_ids: bool = True) -> dict[str, Any]:
        """All state, as arrays and texts that later steps do not change; without copies it is good until the next.

        Without ids it lacks what `duplicates` remembers, which the caller keeps elsewhere.
        """
        return {
            "arrays": self.arrays.snapshot(copied=copied),
            "standings": self.ledger.snapshot(),
            "bidding": self.bidding.snapshot(),
            "ticks": (dict(self._ticked_ms), dict(self._ticks)),
            "registry": self.registry.snapshot(copied=copied),
            "words": self.words.snapshot(),
            "ids": self.duplicates.snapshot() if with_ids else {},
            "corrections": self.corrections.snapshot(),
        }

    @classmethod
    def restore(
        cls,
        snapshot: dict[str, Any],
        shard: int,
        shards: int,
        partitions: int,
        limits: Limits | None = None,
        duplicates: Duplicates | None = None,
    ) -> CampaignShard:
        """The shard as it was when the snapshot was taken; a new number of partitions moves campaigns' homes."""
        restored = cls(shard, shards, partitions, limits, duplicates)
        restored.duplicates.load(snapshot["ids"])
        restored.arrays = Arrays.restore(snapshot["arrays"])
        restored.registry.load(snapshot["registry"])
        restored.ledger = Ledger(restored.arrays, restored.registry)
        restored.ledger.load(snapshot["standings"])
        restored.bidding = BiddingStage(restored.arrays, restored.registry, restored.ledger)
        restored.bidding.load(snapshot["bidding"])
        restored.corrections = restored._corrections()
        restored.corrections.load(snapshot.get("corrections", {}))
        restored.words = ServingWords(restored.arrays, restored.registry, restored.ledger, restored.bidding)
        restored.words.load(snapshot.get("words"))
        restored._ticked_ms, restored._ticks = dict(snapshot["ticks"][0]), dict(snapshot["ticks"][1])
        for slot, key in restored.registry.campaigns.used():
            restored.arrays.campaign(slot)["home"] = restored._home(key.campaign_id)
        return restored
