"""Live rows: complete, current, paced."""

from __future__ import annotations

import numpy as np

from flows.logic.output.live_rows import ROWS_MAX, LivePace
from flows.logic.step import Step
from schemas.kpis import ROLLING_MS
from schemas.live import CampaignLive
from tests.flows.logic.stream import CLICK, Ev, Flow, Tick, batch_of, definition, steps_of

T0 = 1_790_000_000_000


def test_a_row_holds_all_that_a_browser_shows() -> None:
    control = definition(daily_budget_micros=100, total_budget_micros=1_000, time_zone="Europe/Berlin")
    events = [Ev(1, T0, cost=30), Ev(2, T0 + 11_000, type=CLICK, actor=2), Ev(3, T0 + 11_500, cost=90)]
    steps = steps_of([Tick(T0 + 12_000, (control,)), *events], 1, T0)
    for k, step in enumerate(steps):
        step.read_ms = 100 * (k + 1)
    row = Flow().run(steps).live()["a"]
    assert (row.state, row.state_reason, row.version, row.currency) == ("paused", "daily_budget_reached", 1, "EUR")
    assert (row.today.impressions, row.today.clicks, row.today.spend_micros, row.today.reach) == (2, 1, 120, 2)
    assert row.total == row.today
    assert list(row.rolling) == list(ROLLING_MS)
    assert {c.spend_micros for c in row.rolling.values()} == {120}
    assert [(start, c.impressions, c.clicks) for start, c in row.windows] == [(T0 + 10_000, 1, 1), (T0, 1, 0)]
    assert [(b.period, b.spent_micros, b.budget_micros) for b in row.budgets] == [
        ("total", 120, 1_000),
        ("day", 120, 100),
    ]


def row_at(delta_ms: int) -> CampaignLive:
    """The row after an event at T0 and another of a second campaign that ticks the clock on."""
    ticks = [Tick(T0 + 1_000 * s) for s in range(1, delta_ms // 1_000 + 1)]
    return Flow().run(steps_of([Tick(T0), Ev(1, T0, cost=5), *ticks], 1, T0)).live()["a"]


def test_rolling_windows_let_go_of_what_is_older_than_they_are() -> None:
    spent = {name: row_at(400_000).rolling[name].spend_micros for name in ROLLING_MS}
    assert spent == {"1m": 0, "5m": 0, "1h": 5, "24h": 5}


def test_rolling_hours_outlive_the_lateness_of_their_minutes() -> None:
    assert row_at(3_000_000).rolling["1h"].spend_micros == 5
    assert row_at(3_700_000).rolling["1h"].spend_micros == 0


def test_every_campaign_comes_again_within_a_minute() -> None:
    names = [f"c{k}" for k in range(130)]
    flow = Flow().run(steps_of([Tick(T0, tuple(definition(n) for n in names))], 1, T0))
    flow.run(steps_of([Tick(T0 + 1_000)], 1, T0))
    flow.outputs.clear()
    flow.run(steps_of([Tick(T0 + 2_000 + 1_000 * s) for s in range(60)], 1, T0))
    assert set(flow.live()) == set(names)
    assert max(len(output.live) for output in flow.outputs) <= 3


def test_rows_are_paced_and_the_last_state_comes_out() -> None:
    flow = Flow()
    for k in range(10):
        flow.run([Step(0, k, k + 1, T0, 1_000 + 10 * k, batch=batch_of([(k, Ev(k, T0 + k))]))])
    assert [len(output.live) for output in flow.outputs] == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]
    flow.run([Step(0, 10, 10, T0, 1_200)])
    assert flow.live()["a"].today.impressions == 10


def test_many_rows_come_less_often_than_few_and_in_turn() -> None:
    pace, many = LivePace(), np.arange(500)
    assert pace.due(10_000, many).tolist() == list(range(200))
    assert pace.due(10_099, many[200:]).tolist() == []
    assert pace.due(10_100, many).tolist() == list(range(200, 400))
    assert pace.due(10_200, many).tolist() == [*range(400, 500), *range(100)]
    assert pace.due(10_300, many[7:8]).tolist() == [7]
    assert pace.due(10_340, many[7:8]).tolist() == [7]
    assert pace.due(9_000, many[:1]).tolist() == [0], "a clock that was set back does not silence the rows"
    assert pace.due(20_000, many[:0]).tolist() == []


def test_a_campaign_with_a_decision_is_shown_at_once_however_many_wait_for_their_turn() -> None:
    waiting = [Ev(number, T0, f"c{number}") for number in range(2 * ROWS_MAX)]
    flow = Flow().run(steps_of([Tick(T0, (definition("paused", daily_budget_micros=5),)), *waiting], 10_000, T0))
    flow.outputs.clear()
    flow.run(steps_of([Ev(9_999, T0, "paused", cost=5)], 1, T0))
    assert [decision.kind for decision in flow.decisions()] == ["pause"]
    assert flow.live()["paused"].state == "paused"
