"""Plans, forecasts and money in flight."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidding.forecast import Traffic, expected_traffic, hour_of_week, hourly_rates, hours_between, learn_traffic
from bidding.in_flight import EXPIRY_MS, ReportingLag, Reservations, learn_lag, reserved_micros
from bidding.pacing import plan_spend, spendable_micros
from schemas.live import BudgetState
from tests.support.needs import shared_data

HOUR_MS = 3_600_000
MONDAY_MS = 1_772_409_600_000
EVEN = np.ones(168)


def budget(period: str, total: int, spent: int, *, in_flight: int = 0, hours: int = 24) -> BudgetState:
    return BudgetState(
        period=period,
        budget_micros=total,
        spent_micros=spent,
        in_flight_micros=in_flight,
        period_start_ms=MONDAY_MS,
        period_end_ms=MONDAY_MS + hours * HOUR_MS,
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.integers(0, 2 * 10**9), st.integers(0, 10**9)), min_size=1, max_size=4
    ),
    st.integers(0, 10**9),
)
def test_no_more_can_be_spent_than_any_budget_has_left(rows, reserved):
    budgets = [budget("day", total, spent, in_flight=flight) for total, spent, flight in rows]
    left = spendable_micros(budgets, reserved)
    assert left is not None
    assert left >= 0
    assert all(left <= max(b.budget_micros - b.spent_micros - b.in_flight_micros, 0) for b in budgets)


def test_the_tightest_of_several_budgets_rules():
    plan = plan_spend([budget("day", 2_400, 0), budget("week", 3_360, 0, hours=168)], MONDAY_MS, None, EVEN, "UTC")
    assert (plan.period, plan.rate) == ("week", 20.0)


def test_an_end_date_inside_the_period_leaves_less_traffic_to_spend_on():
    plan = plan_spend([budget("day", 2_400, 0)], MONDAY_MS, MONDAY_MS + 6 * HOUR_MS, EVEN, "UTC")
    assert plan.rate == 400.0


def test_a_budget_cut_at_noon_is_followed_from_there_on():
    noon = MONDAY_MS + 12 * HOUR_MS
    before = plan_spend([budget("day", 2_400, 1_200)], noon, None, EVEN, "UTC")
    after = plan_spend([budget("day", 1_800, 1_200)], noon, None, EVEN, "UTC")
    assert (before.rate, after.rate) == (100.0, 50.0)


def test_without_an_end_there_is_no_plan_but_still_a_limit():
    total = budget("total", 1_000, 400)
    total.period_end_ms = None
    plan = plan_spend([total], MONDAY_MS, None, EVEN, "UTC")
    assert (plan.rate, plan.spendable_micros) == (None, 600)


def test_hours_outside_the_day_parts_expect_no_traffic():
    rates = hourly_rates(Traffic(), frozenset({0, 1}))
    assert expected_traffic(rates, MONDAY_MS, MONDAY_MS + 168 * HOUR_MS, "UTC") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("day", "hours"), [(1_774_652_400_000, 24), (1_774_738_800_000, 23)], ids=["Saturday has 24 h", "Sunday has 23 h"]
)
def test_a_day_of_the_clock_change_has_the_hours_it_has(day, hours):
    between = hours_between(day, day + hours * HOUR_MS, "Europe/Berlin")
    assert hour_of_week(day, "Europe/Berlin") % 24 == 0
    assert hour_of_week(day + hours * HOUR_MS, "Europe/Berlin") % 24 == 0
    assert between.sum() == hours
    assert (between[hour_of_week(day, "Europe/Berlin") + 2] == 0.0) == (hours == 23)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_hours_of_two_spans_that_meet_add_up(a, b, c):
    first, middle, last = sorted((MONDAY_MS + a, MONDAY_MS + b, MONDAY_MS + c))
    parts = hours_between(first, middle, "Europe/Berlin") + hours_between(middle, last, "Europe/Berlin")
    assert parts == pytest.approx(hours_between(first, last, "Europe/Berlin"), abs=1e-6)


def test_a_week_of_real_traffic_is_forecast_better_from_two_weeks_of_history_than_by_the_clock():
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    with shared_data("traffic/traffic_share.csv").open() as rows:
        for row in csv.DictReader(rows):
            curves[row["region_id"]][(int(row["dow"]) - 1) * 24 + int(row["hour"])] = float(row["traffic_share"])
    rng = np.random.default_rng(1)
    better = []
    for curve in [c for c in curves.values() if len(c) == 168][:20]:
        share = np.array([curve[h] for h in range(168)])
        traffic = Traffic()
        for hour in range(2 * 168):
            start = MONDAY_MS + hour * HOUR_MS
            count = float(rng.poisson(20_000 * share[hour % 168]))
            traffic = learn_traffic(traffic, start, start + HOUR_MS, count, "UTC")
        forecast = hourly_rates(traffic)
        missed = np.abs(forecast / forecast.sum() - share / share.sum()).sum()
        better.append(missed < 0.5 * np.abs(1 / 168 - share / share.sum()).sum())
    assert len(better) == 20
    assert all(better)


moves = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "book", "release", "expire"]),
        st.integers(0, 9),
        st.integers(0, 400),
        st.integers(0, 2 * EXPIRY_MS),
    ),
    max_size=60,
)


@given(st.integers(0, 2_000), moves)
def test_reservations_never_let_more_be_spent_than_is_left_whatever_comes_in_whatever_order(left, stream):
    ledger, open_most = Reservations(left), left
    for move, bid, micros, now_ms in stream:
        if move == "reserve":
            spendable = ledger.spendable_micros
            assert ledger.reserve(str(bid), micros, now_ms) <= (micros <= spendable or str(bid) in ledger.open_micros)
        elif move == "book":
            # An exchange bills at most what was bid.
            micros = min(micros, ledger.open_micros.get(str(bid), 0))
            ledger.book(str(bid), micros)
            open_most -= micros
        elif move == "release":
            ledger.release(str(bid))
        else:
            ledger.expire(now_ms)
        assert ledger.left_micros == open_most >= 0
        assert 0 <= ledger.reserved == sum(ledger.open_micros.values()) <= ledger.left_micros
        assert ledger.spendable_micros == ledger.left_micros - ledger.reserved


def test_a_win_that_is_never_billed_is_freed_after_its_expiry():
    ledger = Reservations(100)
    assert ledger.reserve("a", 100, 0)
    assert not ledger.reserve("b", 1, 0)
    ledger.expire(EXPIRY_MS)
    assert ledger.reserve("b", 1, EXPIRY_MS)


def test_a_burst_of_spend_is_reserved_for_at_once_and_forgotten_slowly():
    lag = learn_lag(ReportingLag(), 1_000_000, 10_000, 5_000)
    burst = reserved_micros(lag)
    assert burst >= 100 * 2_000
    assert reserved_micros(learn_lag(lag, 0, 10_000, None)) >= 0.98 * burst
