"""A small market around a campaign shard: it buys at the bid in force and reports what it bought as events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from flows.logic.step import Step
from schemas.control import ControlRecord
from schemas.decisions import Decision, Kind, Mode
from tests.flows.logic.stream import CLICK, CONVERSION, IMPRESSION, Ev, Flow, batch_of

TICK_MS = 5_000


@dataclass
class Market:
    """Auctions a tick, their median price (CPM micros), and what impressions bring; reports come `delay_ms` late."""

    start_ms: int
    campaign: str = "a"
    auctions: float = 40.0
    price_micros: float = 1_000_000.0
    click_rate: float = 0.05
    conversion_rate: float = 0.2
    delay_ms: int = 0
    seed: int = 1
    # Events fall into so much of the time before a tick.
    spread_ms: int = TICK_MS
    creatives: tuple[str, ...] = ("x",)
    # Factor on a creative's click rate.
    appeal: dict[str, float] = field(default_factory=dict)
    bid_micros: int | None = None
    pacing_rate: float = 1.0
    running: bool = True
    spent_micros: int = 0
    steps: list[Step] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now_ms = self.start_ms
        self.rng = np.random.default_rng(self.seed)
        self.offset = 0
        self.late: deque[tuple[int, Ev]] = deque()
        self.flow = Flow()

    def feed(self, step: Step) -> None:
        self.steps.append(step)
        seen = len(self.flow.outputs)
        self.flow.run([step])
        for output in self.flow.outputs[seen:]:
            for decision in output.decisions:
                self.obey(decision)

    def obey(self, decision: Decision) -> None:
        self.decisions.append(decision)
        if decision.mode != Mode.AUTO or decision.campaign_id != self.campaign:
            return
        match decision.kind:
            case Kind.SET_BID:
                self.bid_micros = decision.after.bid_micros
            case Kind.SET_PACING:
                self.pacing_rate = decision.after.pacing_rate
            case Kind.PAUSE:
                self.running = False
            case Kind.RESUME:
                self.running = True

    def say(self, *control: ControlRecord) -> None:
        self.feed(Step(0, self.offset, self.offset, self.now_ms, self.now_ms, tick=True, control=list(control)))

    def run(self, ticks: int, between: Callable[[Market], None] | None = None) -> Market:
        for _ in range(ticks):
            if self.running and self.bid_micros:
                self.late += [(self.now_ms + self.delay_ms, event) for event in self.buy(self.bid_micros)]
            self.now_ms += TICK_MS
            due = []
            while self.late and self.late[0][0] <= self.now_ms:
                due.append(self.late.popleft()[1])
            self.report(due)
            self.say()
            if between is not None:
                between(self)
        return self

    def report(self, events: list[Ev]) -> None:
        if events:
            rows = [(self.offset + 10 * k, event) for k, event in enumerate(events)]
            end = self.offset + 10 * len(events)
            batch = batch_of(rows)
            self.feed(Step(0, self.offset, end, self.now_ms, self.now_ms, batch=batch))
            self.offset = end

    def buy(self, bid_micros: int) -> list[Ev]:
        place = math.log(bid_micros / self.price_micros) / 0.5
        chance = 0.5 * (1.0 + math.erf(place / math.sqrt(2.0)))
        wins = int(self.rng.binomial(int(self.rng.poisson(self.auctions)), min(chance * self.pacing_rate, 1.0)))
        return [event for k in range(wins) for event in self._impression(bid_micros, k)]

    def _impression(self, bid_micros: int, k: int) -> list[Ev]:
        key = len(self.steps) * 1_000 + 3 * k
        ts_ms = self.now_ms + TICK_MS - 1 - int(self.rng.integers(0, self.spread_ms))
        cost = round(min(self.price_micros * float(self.rng.lognormal(-0.3, 0.3)), bid_micros) / 1_000)
        self.spent_micros += cost
        creative = self.creatives[k % len(self.creatives)]
        made = [Ev(key, ts_ms, self.campaign, creative, IMPRESSION, cost, actor=key)]
        if self.rng.random() < self.click_rate * self.appeal.get(creative, 1.0):
            made.append(Ev(key + 1, ts_ms, self.campaign, creative, CLICK, actor=key))
            if self.rng.random() < self.conversion_rate:
                made.append(Ev(key + 2, ts_ms, self.campaign, creative, CONVERSION, revenue=2_000_000, actor=key))
        return made
