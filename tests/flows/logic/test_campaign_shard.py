"""Laws of the campaign stage, held against a plain reference over random streams."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.logic.campaigns.registry import CampaignKey
from schemas.decisions import encode_decision
from tests.flows.logic.reference import Reference
from tests.flows.logic.stream import Ev, Flow, Item, Tick, definition, rows_of, steps_of

# Ten minutes before a midnight in Berlin that begins an ISO week.
T0 = round(datetime(2026, 4, 12, 21, 50, tzinfo=UTC).timestamp() * 1_000)
ZONES = {"a": "Europe/Berlin", "b": "Asia/Kolkata", "c": "UTC"}
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

DELTAS_MS = [0, 1, 900, 4_000, -700, -9_000, -61_000, -640_000, -3_900_000, -90_000_000, 50_000, 3_000_000]


@st.composite
def streams(draw: st.DrawFn) -> list[Item]:
    """Definitions, then events around a clock that ticks: some early, some late, some very late."""
    budgets = {"daily_budget_micros": 40, "weekly_budget_micros": 90, "total_budget_micros": 200}
    some = draw(st.sets(st.sampled_from(sorted(budgets))))
    control = [definition(name, time_zone=ZONES[name], **{k: budgets[k] for k in some}) for name in ("a", "b")]
    items: list[Item] = [Tick(T0, tuple(control))]
    now_ms = T0
    for key in range(draw(st.integers(1, 40))):
        if draw(st.integers(0, 4)) == 0:
            now_ms += draw(st.sampled_from([1_000, 1_000, 1_000, 15_000, 400_000, 1_300_000, 90_000_000]))
            items.append(Tick(now_ms))
        else:
            items.append(
                Ev(
                    key,
                    now_ms + draw(st.sampled_from(DELTAS_MS)),
                    draw(st.sampled_from("abc")),
                    draw(st.sampled_from("xy")),
                    draw(st.integers(1, 4)),
                    draw(st.sampled_from([0, 0, 7, 19])),
                    draw(st.sampled_from([0, 100])),
                    draw(st.integers(0, 5)),
                )
            )
    return items


def observed(flow: Flow) -> tuple[object, ...]:
    """All that must not depend on how a stream was cut or spread."""
    return flow.windows(), flow.late(), flow.duplicates(), sorted(map(encode_decision, flow.decisions()))


@quick
@given(streams(), st.integers(1, 7))
def test_windows_late_events_and_decisions_are_those_of_the_plain_reference(items: list[Item], span: int) -> None:
    flow = Flow().run(steps_of(items, span, T0)).drain()
    expected = Reference(ZONES, T0).run(items)
    assert flow.windows() == expected.final_windows()
    assert flow.late() == expected.late
    made = [(d.campaign_id, d.kind, d.ts_ms) for d in flow.decisions()]
    assert made == [(name, kind, ts_ms) for name, kind, _, ts_ms in expected.decisions]
    pauses = [(d.campaign_id, d.reason) for d in flow.decisions() if d.kind == "pause"]
    assert pauses == [(name, reason) for name, kind, reason, _ in expected.decisions if kind == "pause"]


@quick
@given(streams(), st.integers(1, 7))
def test_nothing_depends_on_where_a_span_begins_or_ends(items: list[Item], span: int) -> None:
    whole, cut = Flow().run(steps_of(items, 1_000, T0)).drain(), Flow().run(steps_of(items, span, T0)).drain()
    assert observed(whole) == observed(cut)
    assert [encode_decision(d) for d in whole.decisions()] == [encode_decision(d) for d in cut.decisions()]


@quick
@given(streams(), st.integers(1, 7))
def test_four_shards_find_together_what_one_finds(items: list[Item], span: int) -> None:
    steps = steps_of(items, span, T0)
    one, four = Flow(1).run(steps).drain(), Flow(4).run(steps).drain()
    assert observed(one) == observed(four)


@quick
@given(streams(), st.integers(1, 7), st.integers(0, 40), st.sampled_from([1, 3]))
def test_a_restart_at_any_point_changes_nothing_that_follows(
    items: list[Item], span: int, at: int, shards: int
) -> None:
    steps = steps_of(items, span, T0)
    straight = Flow(shards).run(steps[:at])
    restarted = Flow(shards).run(steps[:at]).restart()
    for flow in (straight, restarted):
        flow.outputs.clear()
        flow.run(steps[at:]).drain()
    assert observed(straight) == observed(restarted)


@quick
@given(streams(), st.integers(1, 7), st.integers(0, 40))
def test_by_sequence_the_last_pause_or_resume_is_the_state_in_force(items: list[Item], span: int, cut: int) -> None:
    steps = steps_of(items, span, T0)
    flow = Flow().run(steps[:cut]).restart().run(steps[cut:])
    for campaign in "ab":
        told = [d for d in flow.decisions() if d.campaign_id == campaign]
        assert [d.sequence for d in told] == sorted({d.sequence for d in told}), "it rises strictly"
        states = [d.after.state for d in sorted(told, key=lambda d: d.place) if d.kind in ("pause", "resume")]
        assert [*["active"], *states][-1] == state_of(flow, campaign)


def state_of(flow: Flow, campaign: str) -> str:
    shard = flow.campaigns[0]
    slot = shard.registry.campaigns.get(CampaignKey("o", campaign))
    return "active" if slot is None or shard.ledger.runs(slot) else "paused"


def test_a_sequence_goes_on_rising_after_the_state_was_thrown_away() -> None:
    start: list[Item] = [Tick(T0, (definition(daily_budget_micros=10),)), Ev(1, T0, cost=10)]
    [pause] = Flow().run(steps_of(start, 1, T0)).decisions()
    later: list[Item] = [Tick(T0 + 1_000, (definition(version=2, daily_budget_micros=10),)), Ev(2, T0 - 9_000, cost=10)]
    [again] = Flow().run(steps_of(later, 1, T0 + 1_000)).decisions()
    assert again.ts_ms < pause.ts_ms
    assert again.sequence > pause.sequence > 0


def test_every_part_of_a_span_is_reported_once_by_each_campaign_shard() -> None:
    events: list[Item] = [Ev(k % 6, T0 + k, "abc"[k % 3]) for k in range(12)]
    flow = Flow(3).run(steps_of(events, 5, T0))
    verdicts = [v for output in flow.outputs for v in output.verdicts]
    assert sorted((v.first_offset, v.part) for v in verdicts) == [(f, p) for f in (0, 50, 100) for p in range(3)]
    assert {v.parts for v in verdicts} == {3}
    assert flow.duplicates() == [10 * k for k in range(6, 12)]


def test_an_open_window_is_reported_at_ticks_and_a_closed_one_for_the_last_time() -> None:
    items: list[Item] = [Tick(T0), Ev(1, T0), Tick(T0 + 1_000), Ev(2, T0 + 5), Tick(T0 + 2_000)]
    flow = Flow().run(steps_of(items, 1, T0))
    key = ("a", "campaign", "", "10s", T0)
    rows = [row for o in flow.outputs for b in o.kpis for row in rows_of(b)]
    versions = [version for row_key, _, version in rows if row_key == key]
    assert versions == [1, 2]
    assert flow.windows()[key][1] == 2
    quiet = Flow().run(steps_of([*items, *(Tick(T0 + s * 1_000) for s in range(3, 1_500))], 1, T0))
    shard = quiet.campaigns[0]
    later = [k for o in quiet.outputs[-800:] for b in o.kpis for k in b.columns().window]
    assert later == []
    assert shard.arrays.campaign(0)["windows"] == 3, "10 s is given back; 1 min, hour and day are kept"


def test_a_row_says_whether_its_window_takes_more_events() -> None:
    """An hour has passed when the windows of the first event are reported: all but the day are closed by then."""
    hour_ms = 3_600_000
    flow = Flow().run(steps_of([Tick(T0 + hour_ms), Ev(1, T0), Ev(2, T0 + hour_ms)], 10, T0)).drain()
    told = {
        (window, start_ms): closed
        for output in flow.outputs
        for batch in (each.columns() for each in output.kpis)
        for window, start_ms, closed in zip(batch.window, batch.window_start_ms, batch.closed, strict=True)
    }
    assert {window: closed for (window, start_ms), closed in told.items() if start_ms <= T0} == {
        "10s": 1, "1m": 1, "1h": 1, "day": 0
    }  # fmt: skip
    assert {told[window, T0 + hour_ms] for window in ("10s", "1m")} == {0}


def test_a_campaign_of_events_alone_is_forgotten_when_its_last_window_closes() -> None:
    flow = Flow().run(steps_of([Tick(T0), Ev(1, T0), *(Tick(T0 + h * 9_000) for h in range(1, 12_000))], 1, T0))
    shard = flow.campaigns[0]
    assert len(shard.registry.campaigns) == 0
    assert shard.registry.series_count == 0
    assert shard.arrays.header["windows_end"] == shard.arrays.header["windows_free"], "every window is free again"


@pytest.mark.parametrize("ahead_ms", [3_600_000, 60_000])
def test_an_event_from_a_clock_that_is_ahead_does_not_make_others_late(ahead_ms: int) -> None:
    items: list[Item] = [Tick(T0), Ev(1, T0), Ev(2, T0 + ahead_ms), *(Ev(3 + k, T0 + k) for k in range(5))]
    flow = Flow().run(steps_of(items, 3, T0)).drain()
    assert flow.late() == []
    assert flow.windows()["a", "campaign", "", "10s", T0][1] == 6


def test_events_that_waited_while_the_flow_was_down_are_not_late() -> None:
    down_ms = 25 * 60_000
    waited: list[Item] = [Ev(10 + k, T0 + 1_000 * k) for k in range(0, down_ms // 1_000, 30)]
    flow = Flow().run(steps_of([Tick(T0), Ev(1, T0), Tick(T0 + down_ms), Tick(T0 + down_ms + 1_000), *waited], 9, T0))
    assert flow.late() == []
