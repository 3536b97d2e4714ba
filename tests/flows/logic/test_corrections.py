"""Corrections in a campaign shard: what each changes, and that it does so once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.logic.campaigns.corrections import KnownIds
from flows.logic.campaigns.registry import CampaignKey
from schemas.corrections import Applied, Cause, Correction, Grain
from schemas.decisions import Decision
from tests.flows.logic.stream import CLICK, Ev, Flow, Item, Tick, definition, override, rows_of, steps_of

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# Noon of a day in UTC.
T0 = 1_776_254_400_000
COUNTS = ("impressions", "clicks", "conversions", "leads", "spend_micros", "revenue_micros")


def corrected(key: int = 1, **given_: Any) -> Correction:
    said: dict[str, Any] = {
        "correction_id": f"k{key}", "org_id": "o", "campaign_id": "a", "ts_ms": T0, "cause": Cause.REFUND,
        "creative_id": "x",
    }  # fmt: skip
    return Correction(**(said | given_))


def at(now_ms: int, *corrections: Correction) -> Tick:
    return Tick(now_ms, corrections=corrections)


def campaign(**fields: Any) -> Tick:
    return Tick(T0, (definition(**fields),))


def ran(*items: Item, span: int = 100) -> Flow:
    return Flow().run(steps_of(list(items), span, T0))


def told(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(d.kind, d.reason) for d in decisions]


def applied(flow: Flow) -> list[Applied]:
    return [each for output in flow.outputs for each in output.applied]


def rows(flow: Flow) -> dict[tuple[Any, ...], list[tuple[tuple[int, ...], int]]]:
    """By window: its rows, each numbers and version."""
    found: dict[tuple[Any, ...], list[tuple[tuple[int, ...], int]]] = {}
    for output in flow.outputs:
        for batch in output.kpis:
            for key, numbers, version in rows_of(batch):
                found.setdefault(key, []).append((numbers[1:], version))
    return found


def newest(flow: Flow) -> dict[tuple[Any, ...], tuple[tuple[int, ...], int]]:
    """The last row of each window."""
    return {key: found[-1] for key, found in rows(flow).items()}


def row_of(flow: Flow, name: str = "a") -> Any:
    shard = flow.campaigns[0]
    slot = shard.registry.campaigns.get(CampaignKey("o", name))
    assert slot is not None
    return shard.arrays.campaign(slot)


# -- budgets ----------------------------------------------------------------------------------------------------


def test_spend_that_is_taken_back_lets_a_campaign_run_again() -> None:
    flow = ran(campaign(daily_budget_micros=100), Ev(1, T0, cost=120), at(T0 + 1_000, corrected(spend_micros=-50)))
    pause, resume = flow.decisions()
    assert told([pause, resume]) == [("pause", "daily_budget_reached"), ("resume", "spend_corrected")]
    assert resume.cause_event == "corrections/k1"
    assert (resume.inputs.spend_micros, resume.inputs.budget_micros) == (70, 100)
    assert resume.sequence > pause.sequence


def test_spend_that_is_added_may_reach_a_budget() -> None:
    flow = ran(campaign(daily_budget_micros=100), Ev(1, T0, cost=60), at(T0 + 1_000, corrected(spend_micros=40)))
    [pause] = flow.decisions()
    assert told([pause]) == [("pause", "daily_budget_reached")]
    assert (pause.cause_event, pause.inputs.spend_micros) == ("corrections/k1", 100)


def test_too_little_taken_back_changes_nothing_of_a_pause() -> None:
    flow = ran(campaign(daily_budget_micros=100), Ev(1, T0, cost=120), at(T0 + 1_000, corrected(spend_micros=-20)))
    assert told(flow.decisions()) == [("pause", "daily_budget_reached")]
    assert row_of(flow)["spent_day"] == 100


def test_a_campaign_that_two_budgets_hold_runs_again_when_neither_does() -> None:
    flow = ran(
        campaign(daily_budget_micros=100, total_budget_micros=150),
        Ev(1, T0, cost=160),
        # Yesterday's: of the total alone.
        at(T0 + 1_000, corrected(1, ts_ms=T0 - DAY_MS, spend_micros=-30)),
        at(T0 + 2_000, corrected(2, spend_micros=-70)),
    )
    assert told(flow.decisions()) == [("pause", "total_budget_reached"), ("resume", "spend_corrected")]
    assert flow.decisions()[-1].cause_event == "corrections/k2"
    assert flow.decisions()[-1].inputs.period == "day", "the budget that held it last"


def test_a_person_s_pause_holds_whatever_is_taken_back() -> None:
    flow = ran(
        campaign(daily_budget_micros=100),
        Ev(1, T0, cost=120),
        Tick(T0 + 1_000, (override("pause"),), (corrected(spend_micros=-100),)),
        Tick(T0 + 2_000, (override("lift", version=2),)),
    )
    assert told(flow.decisions()) == [("pause", "daily_budget_reached"), ("resume", "resumed_by_person")]


def test_a_budget_that_changes_after_a_correction_counts_from_what_was_corrected() -> None:
    flow = ran(
        campaign(daily_budget_micros=100),
        Ev(1, T0, cost=120),
        at(T0 + 1_000, corrected(spend_micros=-50)),
        Tick(T0 + 2_000, (definition(version=2, daily_budget_micros=70),)),
        Tick(T0 + 3_000, (definition(version=3, daily_budget_micros=71),)),
    )
    assert told(flow.decisions())[2:] == [("pause", "daily_budget_reached"), ("resume", "budget_raised")]


def test_a_refund_noted_today_is_no_money_on_top_of_today_s_budget() -> None:
    flow = ran(
        campaign(daily_budget_micros=100),
        Ev(1, T0 - DAY_MS, cost=90),
        Tick(T0),
        Ev(2, T0, cost=30),
        at(T0 + 1_000, corrected(spend_micros=-80)),
        *(Ev(10 + k, T0 + 2_000 + k, cost=10) for k in range(12)),
    )
    [pause] = flow.decisions()[-1:]
    assert (pause.reason, pause.ts_ms) == ("daily_budget_reached", T0 + 2_009)
    assert row_of(flow)["spent_total"] == 90 + 30 - 80 + 120


def test_a_correction_of_a_week_ago_is_in_the_total_and_in_its_week() -> None:
    flow = ran(
        campaign(weekly_budget_micros=1_000),
        Ev(1, T0, cost=50),
        at(T0 + 1_000, corrected(1, ts_ms=T0 - 7 * DAY_MS, spend_micros=7)),
        at(T0 + 2_000, corrected(2, ts_ms=T0 - 400 * DAY_MS, spend_micros=3)),
    )
    row = row_of(flow)
    assert (row["spent_total"], row["spent_week"], row["spent_week_before"], row["spent_day"]) == (60, 50, 7, 50)
    assert [each.late for each in applied(flow)] == [[0], [0]]


def test_periods_that_are_over_when_a_correction_comes_are_rolled_over_first() -> None:
    next_day = T0 + 12 * HOUR_MS + 1_000
    flow = ran(
        campaign(daily_budget_micros=100),
        Ev(1, T0, cost=120),
        at(next_day, corrected(spend_micros=-100)),
        Tick(next_day + 1_000),
    )
    assert ("resume", "spend_corrected") not in told(flow.decisions())[2:]
    assert len(flow.decisions()) == 2


# -- windows ----------------------------------------------------------------------------------------------------


def test_all_open_windows_of_a_moment_change_and_their_version_rises_by_one() -> None:
    flow = ran(
        campaign(),
        *(Ev(k, T0 + k, cost=5) for k in range(4)),
        Tick(T0 + 1_000),
        at(T0 + 2_000, corrected(impressions=-2, spend_micros=-10)),
    ).drain()
    found = rows(flow)
    for level, creative in (("campaign", ""), ("series", "x")):
        for window, start_ms in (("10s", T0), ("1m", T0), ("1h", T0), ("day", T0 - 12 * HOUR_MS)):
            last, version = found["a", level, creative, window, start_ms][-1]
            assert last == (2, 0, 0, 0, 10, 0)
            assert version == 5, (level, window)


def test_a_correction_of_a_day_changes_the_campaign_s_day_alone() -> None:
    flow = ran(campaign(), Ev(1, T0, cost=5), at(T0 + 1_000, corrected(grain=Grain.DAY, spend_micros=9))).drain()
    spend = {key[1:4]: numbers[-1][0][4] for key, numbers in rows(flow).items()}
    assert {key for key, micros in spend.items() if micros == 14} == {("campaign", "", "day")}
    assert set(spend.values()) == {5, 14}


def test_a_series_that_had_no_event_is_made_by_a_correction_that_adds_one() -> None:
    flow = ran(campaign(), Ev(1, T0), at(T0 + 1_000, corrected(creative_id="new", device="tv", clicks=1))).drain()
    assert rows(flow)["a", "series", "new", "10s", T0][-1] == ((0, 1, 0, 0, 0, 0), 1)
    assert rows(flow)["a", "campaign", "", "10s", T0][-1] == ((1, 1, 0, 0, 0, 0), 2)


def test_events_that_follow_a_correction_in_a_new_window_count_in_all_tiers() -> None:
    flow = ran(
        campaign(), Ev(1, T0), at(T0 + 1_000, corrected(ts_ms=T0 + 70_000, creative_id="y", clicks=1)),
        Ev(2, T0 + 70_000, creative="y"), Ev(3, T0 + 71_000, creative="z", actor=7),
    ).drain()  # fmt: skip
    found = rows(flow)
    assert found["a", "campaign", "", "10s", T0 + 70_000][-1] == ((2, 1, 0, 0, 0, 0), 3)
    assert found["a", "campaign", "", "1m", T0 + 60_000][-1] == ((2, 1, 0, 0, 0, 0), 3)
    assert found["a", "campaign", "", "1h", T0][-1] == ((3, 1, 0, 0, 0, 0), 4)


def test_no_window_is_shown_below_zero_and_what_comes_after_makes_it_up() -> None:
    taken = corrected(ts_ms=T0 + 60_000, impressions=-3, spend_micros=-20)
    minute = [Tick(T0 + s * 10_000) for s in range(1, 7)]
    start = [campaign(), *(Ev(k, T0 + k, cost=10) for k in range(4)), *minute, Ev(9, T0 + 60_000)]
    flow = ran(*start, at(T0 + 61_000, taken)).drain()
    assert rows(flow)["a", "campaign", "", "1m", T0 + 60_000][-1] == ((0, 0, 0, 0, 0, 0), 2)
    assert rows(flow)["a", "campaign", "", "1h", T0][-1] == ((2, 0, 0, 0, 20, 0), 6)
    live = flow.live()["a"]
    assert live.rolling["1m"].impressions == 0
    assert (live.total.impressions, live.total.spend_micros) == (2, 20)
    more = ran(*start, at(T0 + 61_000, taken), *(Ev(20 + k, T0 + 62_000 + k) for k in range(4))).drain()
    assert rows(more)["a", "campaign", "", "1m", T0 + 60_000][-1] == ((2, 0, 0, 0, 0, 0), 6)


def test_a_closed_window_is_not_reported_again_and_the_correction_is_late() -> None:
    later = T0 + 30 * 60_000
    first = [Ev(k, T0 + k, cost=10) for k in range(3)]
    ticks = [Tick(T0 + s * 10_000) for s in range(1, 181)]
    taken = corrected(impressions=-1, spend_micros=-10)
    flow = ran(campaign(), *first, *ticks, Ev(9, later, cost=10), at(later + 2_000, taken)).drain()
    assert [each.late for each in applied(flow)] == [[0]]
    found = rows(flow)
    assert found["a", "campaign", "", "10s", T0][-1] == ((3, 0, 0, 0, 30, 0), 3), "the store counts it again"
    assert found["a", "campaign", "", "day", T0 - 12 * HOUR_MS][-1] == ((3, 0, 0, 0, 30, 0), 5)
    live = flow.live()["a"]
    assert live.rolling["1h"].impressions == 3, "rolling windows add up what is kept of closed ones"
    assert live.rolling["24h"].spend_micros == 30


def test_a_window_s_number_that_is_used_again_begins_with_version_one() -> None:
    first = [campaign(), Ev(1, T0), at(T0 + 1_000, corrected(clicks=50))]
    later = [Tick(T0 + s * 1_000) for s in range(2, 1_500)]
    flow = ran(*first, *later, Ev(2, T0 + 1_500_000), Ev(3, T0 + 1_510_000)).drain()
    assert rows(flow)["a", "campaign", "", "10s", T0 + 1_500_000][-1][1] == 1
    assert rows(flow)["a", "campaign", "", "10s", T0 + 1_510_000][-1][1] == 1


# -- refused, late, unknown ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["impressions", "clicks", "spend_micros", "revenue_micros"])
def test_what_would_bring_a_total_below_zero_is_refused_and_changes_nothing(name: str) -> None:
    flow = ran(
        campaign(daily_budget_micros=100),
        Ev(1, T0, cost=5, revenue=5),
        Ev(2, T0, type=CLICK),
        at(T0 + 1_000, corrected(**{"leads": 1, name: -6})),
    ).drain()
    assert [(each.late, each.refused) for each in applied(flow)] == [([], [0])]
    assert rows(flow)["a", "campaign", "", "day", T0 - 12 * HOUR_MS][-1] == ((1, 1, 0, 0, 5, 5), 2)


def test_a_correction_of_the_day_after_tomorrow_is_a_wrong_date() -> None:
    start = [campaign(), Ev(1, T0, cost=5)]
    far, tomorrow = (corrected(h, ts_ms=T0 + h * HOUR_MS, spend_micros=2) for h in (40, 20))
    flow = ran(*start, at(T0 + 1_000, far, tomorrow))
    [said] = applied(flow)
    assert (said.refused, said.late) == ([0], [])
    assert (row_of(flow)["spent_total"], row_of(flow)["spent_day_after"]) == (7, 2)


def test_a_correction_for_a_campaign_that_nobody_knows_goes_on_to_the_store() -> None:
    unknown = corrected(campaign_id="nobody", spend_micros=-5)
    flow = ran(campaign(), Ev(1, T0), at(T0 + 1_000, unknown))
    [said] = applied(flow)
    assert (said.corrections, said.late, said.refused) == ([unknown], [0], [])
    assert len(flow.campaigns[0].registry.campaigns) == 1, "it makes no campaign"


def test_a_campaign_without_a_definition_is_corrected_and_decides_nothing() -> None:
    flow = ran(Tick(T0), Ev(1, T0, cost=5), at(T0 + 1_000, corrected(spend_micros=-5))).drain()
    assert flow.decisions() == []
    assert rows(flow)["a", "campaign", "", "day", T0 - 12 * HOUR_MS][-1] == ((1, 0, 0, 0, 0, 0), 2)


def test_the_same_correction_is_in_force_once() -> None:
    same = corrected(spend_micros=2)
    flow = ran(campaign(), Ev(1, T0), at(T0 + 1_000, same, same), at(T0 + 2_000, same)).restart()
    flow.run(steps_of([at(T0 + 3_000, same, corrected(2, spend_micros=1))], 1, T0))
    assert row_of(flow)["spent_total"] == 3
    assert [[each.correction_id for each in said.corrections] for said in applied(flow)] == [["k1"], ["k2"]]
    assert sum(output.corrections_again for output in flow.outputs) == 3


def test_two_organisations_may_use_the_same_id() -> None:
    flow = ran(campaign(), Ev(1, T0), at(T0 + 1_000, corrected(org_id="other"), corrected(spend_micros=1)))
    assert row_of(flow)["spent_total"] == 1


def test_a_flood_of_one_organisation_s_corrections_pushes_no_others_out() -> None:
    known = KnownIds(ids_max=100)
    quiet = [corrected(key, org_id="quiet") for key in range(40)]
    assert known.new_among(quiet) == quiet
    flood = [corrected(key, org_id="loud") for key in range(5_000)]
    assert all(known.new_among(flood[first : first + 7]) for first in range(0, len(flood), 7))
    assert known.new_among(quiet) == []


# -- whatever comes ------------------------------------------------------------------------------------------------

corrections = st.builds(
    lambda key, ago, grain, creative, counts: corrected(
        key, ts_ms=T0 + 30 * 60_000 - ago, grain=grain, creative_id=creative, **dict(zip(COUNTS, counts, strict=True))
    ),
    st.integers(0, 10),
    st.sampled_from([0, 5_000, 70_000, 25 * 60_000, 2 * HOUR_MS, DAY_MS, 3 * DAY_MS, 9 * DAY_MS, -2 * HOUR_MS]),
    st.sampled_from(list(Grain)),
    st.sampled_from(["x", "y", ""]),
    st.tuples(*[st.integers(-4, 4)] * 4, st.integers(-40, 40), st.integers(-3, 3)),
)
events = st.builds(
    lambda key, ago, creative, cost: Ev(key, T0 + 30 * 60_000 - ago, creative=creative, cost=cost),
    st.integers(0, 200),
    st.integers(0, 40 * 60_000),
    st.sampled_from("xy"),
    st.integers(0, 30),
)
histories = st.lists(events | corrections, max_size=40)


def items_of(history: list[Ev | Correction]) -> list[Item]:
    start: Item = Tick(T0, (definition(daily_budget_micros=200, total_budget_micros=500),))
    now_ms = T0 + 30 * 60_000
    later = [item if isinstance(item, Ev) else at(now_ms + place, item) for place, item in enumerate(history)]
    return [start, *later]


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(1, 5), st.integers(0, 40), st.sampled_from([1, 3]))
def test_totals_are_events_plus_corrections_and_a_restart_changes_nothing(
    history: list[Ev | Correction], span: int, cut: int, shards: int
) -> None:
    steps = steps_of(items_of(history), span, T0)
    straight = Flow(shards).run(steps).drain()
    again = Flow(shards).run(steps[:cut]).restart().run(steps[cut:]).drain()
    assert again.decisions() == straight.decisions()
    assert {key: found[-1] for key, found in rows(again).items()} == {
        key: found[-1] for key, found in rows(straight).items()
    }
    said = [
        each.corrections[place]
        for each in applied(straight)
        for place in range(len(each.corrections))
        if place not in each.refused
    ]
    assert len({each.correction_id for each in said}) == len(said)
    seen = {item.key: item for item in reversed([each for each in history if isinstance(each, Ev)])}
    spend = sum(event.cost for event in seen.values()) + sum(each.spend_micros for each in said)
    for flow in (straight, again):
        shard = next(s for s in flow.campaigns if s.registry.campaigns.get(CampaignKey("o", "a")) is not None)
        slot = shard.registry.campaigns.get(CampaignKey("o", "a"))
        assert slot is not None
        assert shard.arrays.campaign(slot)["spent_total"] == spend >= 0
        shard.arrays.flush()
        counted = shard.bidding.counters(slot)
        assert counted.spend_micros == spend
        assert counted.impressions == len(seen) + sum(each.impressions for each in said) >= 0
        for name in COUNTS:
            assert getattr(counted, name) >= 0
    for numbers in rows(straight).values():
        versions = [version for _, version in numbers]
        assert versions == sorted(versions)
        assert all(value >= 0 for row, _ in numbers for value in row)
