"""Pauses and resumes: when, why, with which numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.decisions import Decision, named
from schemas.zones import zone_of
from tests.flows.logic.stream import Ev, Flow, Item, Tick, definition, override, steps_of

BERLIN = zone_of("Europe/Berlin")


def berlin(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=BERLIN).timestamp() * 1_000)  # type: ignore[misc, arg-type]


T0 = berlin(2026, 4, 15, 12)  # a Wednesday
HOUR_MS = 3_600_000


def decided(items: list[Item], span: int = 100) -> list[Decision]:
    return Flow().run(steps_of(items, span, T0)).decisions()


def told(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(d.kind, d.reason) for d in decisions]


def campaign(version: int = 1, **fields: Any) -> Tick:
    return Tick(T0, (definition(version=version, **{"time_zone": "Europe/Berlin"} | fields),))


def test_the_event_that_reaches_the_budget_tips_the_pause() -> None:
    events = [Ev(k, T0 + k, cost=30) for k in range(6)]
    [pause] = decided([campaign(daily_budget_micros=100), *events])
    assert told([pause]) == [("pause", "daily_budget_reached")]
    assert pause.ts_ms == pause.effective_ms == T0 + 3
    assert pause.cause_event == "events/0@30"
    assert (pause.before.state, pause.after.state) == ("active", "paused")
    assert named(pause.undo) == {"kind": "resume", "after": {"state": "active"}}
    assert named(pause.inputs) == {
        "version": 1,
        "period": "day",
        "period_start_ms": berlin(2026, 4, 15),
        "spend_micros": 120,
        "budget_micros": 100,
        "in_flight_micros": 0,
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 600), st.integers(1, 9))
def test_a_pause_comes_with_just_the_event_whose_running_sum_reaches_the_budget(
    costs: list[int], budget: int, span: int
) -> None:
    events = [Ev(k, T0 + k, cost=cost) for k, cost in enumerate(costs)]
    decisions = decided([campaign(total_budget_micros=budget), *events], span)
    sums = [sum(costs[: k + 1]) for k in range(len(costs))]
    reached = [k for k, total in enumerate(sums) if total >= budget]
    assert [d.ts_ms - T0 for d in decisions] == reached[:1]
    assert [d.inputs.spend_micros for d in decisions] == [sums[k] for k in reached[:1]]


@pytest.mark.parametrize(
    ("budgets", "reason"),
    [
        pytest.param({"daily": 50, "weekly": 50, "total": 50}, "total_budget_reached", id="total comes first"),
        pytest.param({"daily": 50, "weekly": 50}, "weekly_budget_reached", id="then the week"),
        pytest.param({"daily": 50, "weekly": 60}, "daily_budget_reached", id="a budget not reached is not named"),
    ],
)
def test_of_several_budgets_one_is_named(budgets: dict[str, int], reason: str) -> None:
    fields = {f"{period}_budget_micros": limit for period, limit in budgets.items()}
    assert told(decided([campaign(**fields), Ev(1, T0, cost=50)])) == [("pause", reason)]


@pytest.mark.parametrize("day", [(2026, 3, 28), (2026, 3, 29), (2026, 10, 24), (2026, 10, 25)])
def test_the_next_day_resumes_at_local_midnight_also_where_clocks_change(day: tuple[int, int, int]) -> None:
    noon = berlin(*day, 12)
    midnight = berlin(day[0], day[1], day[2] + 1)
    start = [Tick(noon, (definition(time_zone="Europe/Berlin", daily_budget_micros=100),)), Ev(1, noon, cost=130)]
    ticks = [Tick(noon + s * 1_000) for s in range(1, 14 * 3_600, 7)]
    pause, resume = Flow().run(steps_of([*start, *ticks], 10, noon)).decisions()
    assert told([resume]) == [("resume", "next_period")]
    assert resume.effective_ms == midnight
    assert 0 <= resume.ts_ms - midnight < 7_000
    assert (resume.inputs.spend_micros, resume.inputs.overspend_micros) == (130, 30)
    assert resume.inputs.period_start_ms == midnight
    assert pause.inputs.period_start_ms == berlin(*day)


def test_an_event_of_the_next_day_resumes_before_it_is_counted() -> None:
    after = berlin(2026, 4, 16) + 5
    items = [campaign(daily_budget_micros=100), Ev(1, T0, cost=100), Tick(after - 1_000), Ev(2, after, cost=100)]
    decisions = decided(items)
    assert told(decisions) == [
        ("pause", "daily_budget_reached"),
        ("resume", "next_period"),
        ("pause", "daily_budget_reached"),
    ]
    assert len({d.decision_id for d in decisions}) == 3


def test_a_week_ends_on_monday_and_a_day_within_it_does_not_resume() -> None:
    ticks = [Tick(T0 + h * HOUR_MS // 4) for h in range(1, 4 * 24 * 6)]
    items = [campaign(weekly_budget_micros=100, daily_budget_micros=90), Ev(1, T0, cost=100), *ticks]
    _, resume = decided(items)
    assert (resume.reason, resume.effective_ms) == ("next_period", berlin(2026, 4, 20))


def test_a_raised_budget_resumes_and_a_lowered_one_pauses_at_the_control_point() -> None:
    items = [
        campaign(daily_budget_micros=100),
        Ev(1, T0, cost=100),
        Ev(2, T0 + 1, cost=20),
        campaign(2, daily_budget_micros=200),
        campaign(3, daily_budget_micros=110),
        campaign(4, daily_budget_micros=500, total_budget_micros=120),
    ]
    decisions = decided(items)
    assert told(decisions) == [
        ("pause", "daily_budget_reached"),
        ("resume", "budget_raised"),
        ("pause", "daily_budget_reached"),
    ]
    assert decisions[1].inputs.overspend_micros == 20
    assert decisions[1].inputs.budget_micros == 200
    assert decisions[2].inputs.budget_micros == 110


@pytest.mark.parametrize(
    ("put", "back", "reasons"),
    [
        pytest.param(
            campaign(2, status="paused"), campaign(3), ("paused_by_person", "resumed_by_person"), id="by definition"
        ),
        pytest.param(
            Tick(T0, (override("pause"),)), Tick(T0, (override("resume", version=2),)),
            ("paused_by_person", "resumed_by_person"), id="by override",
        ),
        pytest.param(
            Tick(T0, (override("pause"),)), Tick(T0, (override("lift", version=2),)),
            ("paused_by_person", "resumed_by_person"), id="by override that is lifted",
        ),
    ],
)  # fmt: skip
def test_a_person_pauses_and_resumes(put: Tick, back: Tick, reasons: tuple[str, str]) -> None:
    decisions = decided([campaign(), Ev(1, T0), put, Ev(2, T0 + 1), back, Ev(3, T0 + 2)])
    assert told(decisions) == [("pause", reasons[0]), ("resume", reasons[1])]


def test_a_person_s_resume_does_not_spend_past_a_budget() -> None:
    items = [campaign(daily_budget_micros=10), Ev(1, T0, cost=10), Tick(T0, (override("pause"),))]
    assert told(decided([*items, Tick(T0, (override("resume", version=2),))])) == [("pause", "daily_budget_reached")]


def test_start_and_end_pause_and_resume_idle_campaigns_by_the_clock() -> None:
    dates = {"start_ms": T0 + 10_000, "end_ms": T0 + 20_000}
    decisions = decided([campaign(**dates), *(Tick(T0 + s * 1_000) for s in range(1, 30))])
    assert told(decisions) == [("pause", "not_started"), ("resume", "started"), ("pause", "ended")]
    assert [d.ts_ms - T0 for d in decisions] == [0, 10_000, 20_000]


def test_a_definition_that_comes_later_sees_what_was_spent() -> None:
    items: list[Item] = [Tick(T0), Ev(1, T0, cost=80), Tick(T0 + 1_000)]
    pause = definition(time_zone="Europe/Berlin", total_budget_micros=80)
    assert told(decided([*items, Tick(T0 + 2_000, (pause,))])) == [("pause", "total_budget_reached")]


def test_a_new_time_zone_holds_from_the_end_of_the_local_day() -> None:
    moved = definition(version=2, time_zone="America/New_York", daily_budget_micros=100)
    ticks = [Tick(T0 + q * HOUR_MS // 4) for q in range(1, 4 * 48)]
    items = [campaign(daily_budget_micros=100), Ev(1, T0, cost=1), Tick(T0, (moved,)), Ev(2, T0 + 1, cost=99), *ticks]
    flow = Flow().run(steps_of(items, 1, T0))
    pause, resume = flow.decisions()
    assert pause.inputs.period_start_ms == berlin(2026, 4, 15)
    assert resume.effective_ms == berlin(2026, 4, 16)
    # The day between has 30 hours: from midnight in Berlin to the second midnight in New York is 54, to the first 6.
    bounds = [row.budgets[0].period_end_ms for o in flow.outputs for row in o.live if row.version == 2]
    midnight = datetime(2026, 4, 17, tzinfo=zone_of("America/New_York"))
    assert bounds[-1] is not None
    assert round(midnight.timestamp() * 1_000) in bounds


def test_an_event_of_yesterday_counts_for_yesterday_and_the_total() -> None:
    morning = berlin(2026, 4, 16, 0, 5)
    first = [Tick(morning, (definition(time_zone="Europe/Berlin", daily_budget_micros=50, total_budget_micros=90),))]
    items: list[Item] = [*first, Ev(1, morning, cost=40), Ev(2, morning - 600_000, cost=40)]
    flow = Flow().run(steps_of(items, 10, morning))
    assert flow.decisions() == []
    assert told(flow.run(steps_of([Ev(3, morning, cost=10)], 1, morning)).decisions()) == [
        ("pause", "total_budget_reached")
    ]


def test_a_bad_definition_changes_nothing_and_is_counted() -> None:
    flow = Flow().run(steps_of([campaign(daily_budget_micros=100), campaign(2, time_zone="Moon/Base")], 1, T0))
    assert flow.campaigns[0].ledger.bad_definitions == 1
    flow.run(steps_of([Ev(1, T0, cost=100)], 1, T0))
    assert told(flow.decisions()) == [("pause", "daily_budget_reached")]


def test_a_clock_that_jumps_over_many_days_resumes_once() -> None:
    items = [campaign(daily_budget_micros=100), Ev(1, T0, cost=150), Tick(T0 + 1_000), Tick(T0 + 90 * 24 * HOUR_MS)]
    _, resume = decided(items)
    assert resume.inputs.overspend_micros == 50
    assert resume.effective_ms == berlin(2026, 7, 14)


def test_an_event_ahead_of_its_day_and_week_is_spent_when_they_begin_and_not_after() -> None:
    eve, monday = berlin(2026, 4, 19, 23, 59, 50), berlin(2026, 4, 20)
    day_ms = 24 * HOUR_MS
    budgets = {"daily_budget_micros": 100, "weekly_budget_micros": 150, "time_zone": "Europe/Berlin"}

    def morning(day: int, key: int, cost: int) -> list[Item]:
        return [Tick(monday + day * day_ms + s) for s in (0, 1_000)] + [
            Ev(key, monday + day * day_ms + 2_000, cost=cost)
        ]

    early: list[Item] = [Tick(eve, (definition(**budgets),)), Ev(1, eve), Ev(2, monday + 50_000, cost=40)]
    items = early + morning(0, 3, 60) + morning(1, 4, 60) + morning(7, 5, 110)
    decisions = Flow().run(steps_of(items, 1, eve)).decisions()
    assert told(decisions) == [
        ("pause", "daily_budget_reached"),
        ("resume", "next_period"),
        ("pause", "weekly_budget_reached"),
        ("resume", "next_period"),
        ("pause", "daily_budget_reached"),
    ]
    assert [d.inputs.spend_micros for d in decisions if d.kind == "pause"] == [100, 160, 110]


def test_a_pause_by_a_late_event_comes_after_the_resume_that_the_clock_brought() -> None:
    raised = definition(version=2, time_zone="Europe/Berlin", daily_budget_micros=20)
    late = Ev(2, T0 - 60_000, cost=10)
    items = [campaign(daily_budget_micros=10), Ev(1, T0, cost=10), Tick(T0 + 5_000, (raised,)), late]
    decisions = decided(items)
    assert told(decisions)[1:] == [("resume", "budget_raised"), ("pause", "daily_budget_reached")]
    assert max(decisions, key=lambda d: (d.ts_ms, d.decision_id)).kind == "resume", "event time would end on this"
    assert max(decisions, key=lambda d: d.place).kind == "pause"


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(definition(version=1, status="paused"), id="an older definition"),
        pytest.param(definition(version=2, status="paused"), id="the same version"),
        pytest.param(override("pause", version=1), id="an older override"),
    ],
)
def test_a_record_that_is_delivered_again_changes_nothing(again: Any) -> None:
    first = [Tick(T0, (definition(version=1, status="paused"),)), Tick(T0 + 1, (definition(version=2),))]
    words = [Tick(T0 + 2, (override("pause", version=1),)), Tick(T0 + 3, (override("resume", version=2),))]
    once = decided([*first, *words])
    assert [d.kind for d in once] == ["pause", "resume", "pause", "resume"]
    assert told(decided([*first, *words, Tick(T0 + 4, (again,)), Tick(T0 + 5)])) == told(once)
