"""Bounds of what a shard keeps apart."""

from __future__ import annotations

import numpy as np

from flows.logic.registry import OTHER, Limits
from flows.logic.step import Step
from schemas.batch import SeriesKey
from tests.flows.logic.stream import Ev, Flow, Tick, batch_of, definition, steps_of

T0 = 1_790_000_000_000


def impressions_of(flow: Flow, level: str, window: str) -> dict[tuple[str, str], int]:
    return {
        (campaign, creative): numbers[1]
        for (campaign, one_level, creative, one_window, _), numbers in flow.drain().windows().items()
        if (one_level, one_window) == (level, window)
    }


def test_series_beyond_the_bound_of_a_campaign_are_counted_together() -> None:
    events = [Ev(k, T0, "ab"[k % 2], f"x{k}") for k in range(12)]
    flow = Flow(limits=Limits(series_per_campaign=2)).run(steps_of(events, 5, T0))
    counted = impressions_of(flow, "series", "10s")
    assert counted == {
        ("a", "x0"): 1,
        ("a", "x2"): 1,
        ("a", OTHER): 4,
        ("b", "x1"): 1,
        ("b", "x3"): 1,
        ("b", OTHER): 4,
    }
    assert impressions_of(flow, "campaign", "10s") == {("a", ""): 6, ("b", ""): 6}
    assert flow.campaigns[0].registry.folded == 8


def test_unknown_campaigns_beyond_the_bound_are_counted_together_and_defined_ones_are_not() -> None:
    defined = Tick(T0, (definition("known", total_budget_micros=1),))
    events = [*(Ev(k, T0, f"c{k}") for k in range(6)), Ev(9, T0, "known", cost=1)]
    flow = Flow(limits=Limits(campaigns=3)).run(steps_of([*events[:3], defined, *events[3:]], 10, T0))
    counted = impressions_of(flow, "campaign", "10s")
    assert counted == {("c0", ""): 1, ("c1", ""): 1, ("c2", ""): 1, (OTHER, ""): 3, ("known", ""): 1}
    assert [d.campaign_id for d in flow.decisions()] == ["known"]


def test_memory_does_not_grow_under_series_that_never_come_again() -> None:
    flow, sizes = Flow(limits=Limits(series_per_campaign=300)), []
    hour_ms, key = 3_600_000, 0
    for hour in range(100):
        now_ms = T0 + hour * hour_ms
        events = [(n, Ev(key + n, now_ms + n, "a", f"x{key + n}", actor=key + n)) for n in range(200)]
        key += len(events)
        flow.run([Step(0, 0, 1, now_ms, 0, batch=batch_of(events)), Step(0, 1, 1, now_ms, 0, tick=True)])
        flow.outputs.clear()
        sizes.append(flow.campaigns[0].arrays.memory_bytes())
    assert sizes[-1] == sizes[40]
    assert len(flow.campaigns[0].registry.series) <= 301


def test_a_list_of_series_that_grows_in_place_is_followed() -> None:
    flow = Flow()
    first = batch_of([(0, Ev(1, T0, "a", "x"))])
    flow.run([Step(0, 0, 1, T0, 0, batch=first)])
    second = batch_of([(1, Ev(2, T0, "a", "x"))])
    first.series.append(SeriesKey("o", "a", "y", "", "", ""))
    second.series, second.series_code = first.series, np.array([1], np.int32)
    flow.run([Step(0, 1, 2, T0, 0, batch=second)])
    assert impressions_of(flow, "series", "10s") == {("a", "x"): 1, ("a", "y"): 1}


def test_texts_with_any_character_survive_a_restart() -> None:
    creative = 'semi;"\x1f\x1e\n☃'
    flow = (
        Flow()
        .run(steps_of([Ev(1, T0, "a", creative)], 1, T0))
        .restart()
        .run(steps_of([Ev(2, T0, "a", creative)], 1, T0))
    )
    assert impressions_of(flow, "series", "10s") == {("a", creative): 2}
