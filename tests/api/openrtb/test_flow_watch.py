"""While the dataflow is away nobody adds up what is spent: then nothing with a budget is bid on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from api.openrtb.flow_watch import SILENT_S, FlowWatch
from schemas.live import FlowStatus
from tests.api.openrtb.test_bidder import World


def status(now_ms: int, worker: int = 0) -> FlowStatus:
    names = ("lag_records", "lag_bytes", "watermark_ms", "dead_letters", "duplicates", "late")
    numbers = dict.fromkeys((*names, "events_per_second", "epoch_ms"), 0)
    return FlowStatus(now_ms=now_ms, worker=worker, **numbers)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.statuses: Any = SimpleNamespace(flow={})
        self.watch = FlowWatch(self.statuses, lambda: self.now_s)


def test_a_flow_that_was_heard_and_is_silent_is_away_until_it_is_heard_again() -> None:
    clock = Clock()
    clock.statuses.flow = {0: status(5_000), 1: status(4_000, 1)}
    assert not clock.watch.is_away()
    clock.now_s += SILENT_S
    assert not clock.watch.is_away()
    clock.now_s += 0.1
    assert clock.watch.is_away()
    clock.statuses.flow[1] = status(6_000, 1)
    assert not clock.watch.is_away()


def test_a_flow_that_was_never_heard_of_is_not_away() -> None:
    clock = Clock()
    clock.now_s += 3_600
    assert not clock.watch.is_away()


def test_a_campaign_with_a_budget_is_not_bid_on_while_the_flow_is_away() -> None:
    world = World(spendable_micros=50_000_000)
    assert world.bid()["cid"] == "c"
    world.bidder.flow_is_away = lambda: True
    assert "nbr" in world.ask()
    world.spendable_micros = None
    assert world.bid()["cid"] == "c"
