"""Random histories of a campaign shard: definitions, people's words, spend, dates and ticks, one seed each."""

from __future__ import annotations

import random
from typing import Any

from flows.logic.step import Step
from schemas.control import ControlRecord, DecisionWordRecord, OverrideRecord
from schemas.decisions import Decision
from tests.flows.logic.stream import CLICK, CONVERSION, IMPRESSION, Ev, Flow, batch_of, definition

# Monday, 2026-03-02 00:00 UTC
START_MS = 1_772_409_600_000
HOUR_MS = 3_600_000


class History:
    """Makes up what happens next, seeing what was decided; `records` are those of topic `control`."""

    def __init__(self, seed: int, campaigns: tuple[str, ...] = ("a", "b", "c"), flow: Flow | None = None) -> None:
        self.rng = random.Random(seed)
        self.campaigns = campaigns
        self.now_ms = START_MS
        self.flow = flow or Flow()
        self.steps: list[Step] = []
        self.records: list[ControlRecord] = []
        self.decisions: list[Decision] = []
        self._versions: dict[tuple[str, str], int] = {}
        self._offset = 0

    def run(self, rounds: int) -> History:
        for _ in range(rounds):
            if self.rng.random() < 0.3:
                self._tick([self._control() for _ in range(self.rng.choice((1, 1, 2)))])
            else:
                self._tick([])
            self._events()
        # What was asked for last is decided.
        for _ in range(3):
            self._tick([])
        return self

    def _feed(self, step: Step) -> None:
        self.steps.append(step)
        seen = len(self.flow.outputs)
        self.flow.run([step])
        self.decisions += [d for output in self.flow.outputs[seen:] for d in output.decisions]

    def _tick(self, control: list[ControlRecord]) -> None:
        self.now_ms += self.rng.choice((1_000, 1_000, 10_000, 61_000, 2 * HOUR_MS))
        self.records += control
        self._feed(Step(0, self._offset, self._offset, self.now_ms, self.now_ms, tick=True, control=control))

    def _events(self) -> None:
        events = []
        for _ in range(self.rng.randrange(12)):
            kind = self.rng.choice((IMPRESSION, IMPRESSION, IMPRESSION, CLICK, CONVERSION))
            cost = self.rng.choice((0, 10_000, 400_000, 2_000_000)) if kind == IMPRESSION else 0
            ts_ms = self.now_ms - self.rng.choice((0, 500, 3_000, 20_000))
            name = self.rng.choice(self.campaigns)
            events.append((self._offset, Ev(self._offset, ts_ms, name, type=kind, cost=cost)))
            self._offset += 10
        if events:
            first = events[0][0]
            self._feed(Step(0, first, self._offset, self.now_ms, self.now_ms, batch=batch_of(events)))

    def _version(self, kind: str, campaign: str) -> int:
        version = self._versions[kind, campaign] = self._versions.get((kind, campaign), 0) + 1
        return version

    def _control(self) -> ControlRecord:
        campaign, rng = self.rng.choice(self.campaigns), self.rng
        kind = rng.random()
        if kind < 0.45 or ("definition", campaign) not in self._versions:
            return definition(campaign, self._version("definition", campaign), **self._definition())
        if kind < 0.75:
            action = rng.choice(("pause", "resume", "set_bid", "lift"))
            return OverrideRecord(
                key=f"{campaign}/o", org_id="o", campaign_id=campaign, version=self._version("override", campaign),
                changed_by="me", changed_ms=0, action=action,
                bid_micros=rng.randrange(1, 9) * 100_000 if action == "set_bid" else None,
            )  # fmt: skip
        mine = [d.decision_id for d in self.decisions[-12:] if d.campaign_id == campaign] or ["unknown"]
        return DecisionWordRecord(
            key=f"{campaign}/w", org_id="o", campaign_id=campaign, version=self._version("word", campaign),
            changed_by="me", changed_ms=0, decision_id=rng.choice(mine),
            word=rng.choice(("approve", "reject", "undo", "undo")),
        )  # fmt: skip

    def _definition(self) -> dict[str, Any]:
        rng = self.rng
        fields: dict[str, Any] = {"currency": rng.choice(("EUR", "USD"))}
        fields["time_zone"] = rng.choice(("UTC", "Europe/Berlin", "Asia/Kolkata"))
        fields["status"] = rng.choice(("active", "active", "active", "paused", "archived"))
        for name in ("daily_budget_micros", "weekly_budget_micros", "total_budget_micros"):
            if rng.random() < 0.4:
                fields[name] = rng.choice((1_000_000, 5_000_000, 40_000_000))
        if rng.random() < 0.3:
            fields["start_ms"] = self.now_ms + rng.choice((-HOUR_MS, HOUR_MS))
        if rng.random() < 0.3:
            fields["end_ms"] = self.now_ms + rng.choice((2, 9, 30)) * HOUR_MS
        if rng.random() < 0.8:
            fields["bidding"] = self._bidding()
        return fields

    def _bidding(self) -> dict[str, Any]:
        rng = self.rng
        strategy = rng.choice(("manual", "max_clicks", "max_conversions", "target_cpa", "target_roas"))
        bidding: dict[str, Any] = {"strategy": strategy, "mode": rng.choice(("auto", "auto", "recommend", "dry_run"))}
        if strategy == "manual" or rng.random() < 0.6:
            bidding["bid_micros"] = rng.randrange(1, 9) * 100_000
        if strategy == "target_cpa":
            bidding["target_cpa_micros"] = 3_000_000
        if strategy == "target_roas":
            bidding["target_roas"] = 2.5
        if rng.random() < 0.3:
            bidding["day_parts"] = rng.sample(range(168), 80)
        return bidding
