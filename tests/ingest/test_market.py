"""The demonstration's market: seeded, in closed loop, with a daily rhythm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ingest.market import Demand, Market, traffic_factor
from schemas.decode import decode_row
from schemas.events import Event
from schemas.serving import Serving

NOON = 1_790_078_400_000  # 2026-09-22 12:00 UTC, a Tuesday
DEMAND = Demand("c", 200.0, 2_000_000, 0.5, 0.05, 0.5, 10_000_000, conversion_delay_s=1.0, click_delay_s=1.0)


def play(seed: int = 1, steps: int = 100, **state: Any) -> list[dict[str, Any]]:
    market = Market([DEMAND], rng=np.random.default_rng(seed), run="r")
    serving = {"c": Serving(**{"org_id": "default", "campaign_id": "c", "bid_micros": 2_000_000, **state})}
    events = []
    for step in range(steps):
        at = NOON + 100 * step
        events += market.step(at, at + 100, serving)
    return events


def test_the_same_seed_gives_the_same_events() -> None:
    assert play(seed=3) == play(seed=3)
    assert play(seed=3) != play(seed=4)


def test_every_event_is_valid() -> None:
    import orjson

    events = play(steps=300)
    assert {event["type"] for event in events} == {"impression", "click", "conversion"}
    for event in events:
        assert isinstance(decode_row(orjson.dumps(event), now_ms=NOON + 10_000_000), Event)


def test_event_ids_are_unique() -> None:
    ids = [event["event_id"] for event in play(steps=300)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "state", [{"paused": True}, {"bid_micros": None}, {"pacing_rate": 0.0}], ids=["paused", "no bid", "pacing at zero"]
)
def test_a_campaign_that_is_stopped_buys_nothing(state: dict[str, Any]) -> None:
    assert play(**state) == []


def test_a_higher_bid_wins_more_and_pays_more() -> None:
    low, high = play(bid_micros=1_500_000), play(bid_micros=4_000_000)
    assert sum(e.get("cost_micros", 0) for e in high) > sum(e.get("cost_micros", 0) for e in low)


def test_nobody_pays_more_than_the_bid() -> None:
    assert max(event.get("cost_micros", 0) for event in play(bid_micros=1_500_000)) <= 1_500


def test_what_was_won_before_a_pause_still_clicks() -> None:
    market = Market([DEMAND], rng=np.random.default_rng(1), run="r")
    open_state = {"c": Serving(org_id="default", campaign_id="c", bid_micros=9_000_000)}
    market.step(NOON, NOON + 5_000, open_state)
    later = market.step(NOON + 5_000, NOON + 60_000, {"c": Serving(org_id="default", campaign_id="c", paused=True)})
    assert {event["type"] for event in later} == {"click", "conversion"}


def test_traffic_follows_the_day_of_the_campaign_s_zone() -> None:
    assert traffic_factor(NOON, "UTC") > 2 * traffic_factor(NOON, "America/Los_Angeles")
