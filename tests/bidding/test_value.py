"""Value models, late conversions, segments, portfolios, exploration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.value_models import click_stream
from bidding.exploration import TILT, Exploration, Tilt, book_block, tilt_for
from bidding.guard import Breaker, watch_outcome
from bidding.portfolio import STEP_SHARE, Member, reallocate
from bidding.segments import Seen, bid_modifiers
from bidding.value.calibration import calibrate_batch, calibration_error, log_loss, new_calibration
from bidding.value.delay import Delays, conversion_rate, observe_clicks, observe_conversions, pending_conversions
from bidding.value.ftrl import delayed_weights, learn_batch, new_model, predict_one

HOUR_MS = 3_600_000


def _delayed_world(hours: int, known: bool) -> tuple[Delays, float]:
    """Clicks that convert at 10%, two hours later in the mean; also how many conversions are truly still to come."""
    rng = np.random.default_rng(3)
    delays, arrivals, step_ms = Delays(), [], 300_000
    for i in range(hours * 12):
        now_ms = (i + 1) * step_ms
        came = [d for at, d in arrivals if now_ms - step_ms < at <= now_ms]
        delays = observe_clicks(delays, now_ms, 100)
        delays = observe_conversions(delays, len(came), tuple(came) if known else ())
        late = rng.exponential(2 * HOUR_MS, rng.binomial(100, 0.1))
        arrivals += [(now_ms + d, round(d)) for d in late.tolist()]
    return delays, sum(at > hours * 12 * step_ms for at, _ in arrivals)


@pytest.mark.parametrize("hours", [6, 24])
def test_late_conversions_are_not_taken_for_failures(hours):
    delays, pending = _delayed_world(hours, known=True)
    assert conversion_rate(delays) == pytest.approx(0.1, rel=0.08)
    assert pending_conversions(delays) == pytest.approx(pending, rel=0.2)


def test_conversions_of_unknown_delay_still_give_the_rate_once_the_past_is_long():
    delays, _ = _delayed_world(48, known=False)
    assert conversion_rate(delays) == pytest.approx(0.1, rel=0.25)


def test_before_the_first_click_nothing_is_expected():
    assert conversion_rate(Delays()) == 0.0
    assert pending_conversions(Delays()) == 0.0


def test_state_of_delays_stays_small_over_a_year():
    delays = Delays()
    for hour in range(24 * 365):
        delays = observe_clicks(delays, hour * HOUR_MS, 5)
    assert len(delays.cohort_ms) <= 96


def test_the_click_model_nears_the_truth_and_calibration_brings_it_nearer():
    features, responses, rate = click_stream(150_000, np.random.default_rng(7))
    predicted = learn_batch(new_model(), features, responses, np.ones(len(responses)))
    after = calibrate_batch(new_calibration(), predicted, responses)
    half = slice(75_000, None)
    constant = np.full(75_000, responses[:75_000].mean())
    truth = log_loss(rate[half], responses[half])
    assert log_loss(predicted[half], responses[half]) < log_loss(constant, responses[half])
    assert log_loss(after[half], responses[half]) < truth * 1.06
    errors = [calibration_error(p[half], responses[half]) for p in (predicted, after)]
    assert errors[1] < min(errors[0], 0.12)


def test_an_unseen_event_has_the_prior_rate():
    assert predict_one(new_model(0.02), np.array([1, 0, 7], np.uint32)) == pytest.approx(0.02)


def test_young_clicks_weigh_as_failures_only_as_far_as_their_time_has_come():
    assert delayed_weights(np.array([-0.1, 0.3, 2.0])).tolist() == [0.0, 0.3, 1.0]


def test_a_handful_of_clicks_changes_no_modifier():
    assert bid_modifiers({"device=tv": Seen(100, 5), "device=mobile": Seen(100_000, 1_000)}) == {}


def test_a_segment_that_really_differs_gets_a_bounded_modifier():
    seen = {f"hour={h}": Seen(50_000, 500) for h in range(22)}
    seen |= {"hour=22": Seen(50_000, 900), "hour=23": Seen(50_000, 20)}
    modifiers = bid_modifiers(seen)
    assert 1.3 < modifiers["hour=22"] < 1.8
    assert modifiers["hour=23"] == 0.5


@given(st.dictionaries(st.text(max_size=4), st.tuples(st.integers(0, 10**6), st.floats(0, 1)), max_size=8))
def test_modifiers_stay_within_their_bounds(given_segments):
    segments = {name: Seen(exposure, exposure * share) for name, (exposure, share) in given_segments.items()}
    assert all(0.5 <= factor <= 2.0 for factor in bid_modifiers(segments).values())


members = st.lists(
    st.builds(
        Member,
        campaign_id=st.text("abc", min_size=1, max_size=3),
        budget_micros=st.integers(1_000_000, 10**9),
        spend_micros=st.integers(1_000_000, 10**9),
        events=st.floats(0, 10_000),
        event_value=st.floats(0, 1_000),
        limited=st.booleans(),
    ),
    max_size=6,
)


@given(members)
def test_a_reallocation_keeps_the_sum_and_moves_no_budget_too_far(group):
    found = reallocate(group)
    if found is None:
        return
    assert found.gain_low > 0.0
    assert found.gain_low <= found.gain <= found.gain_high
    moved = sum(move.after_micros - move.before_micros for move in found.moves)
    assert moved <= 0
    # The campaign that rounding is taken from may lose what the others were rounded by.
    assert all(abs(m.after_micros - m.before_micros) <= STEP_SHARE * m.before_micros + 10 for m in found.moves)


def test_money_moves_from_the_poor_return_to_the_rich_one():
    found = reallocate([Member("a", 10**8, 10**9, 4_000), Member("b", 10**8, 10**9, 1_000)])
    assert found is not None
    after = {move.campaign_id: move.after_micros for move in found.moves}
    assert after["a"] > 10**8 > after["b"]


def test_a_campaign_that_does_not_spend_its_budget_gets_no_more():
    found = reallocate([Member("a", 10**8, 10**9, 4_000, limited=False), Member("b", 10**8, 10**9, 1_000)])
    assert found is None or all(m.campaign_id != "a" or m.after_micros <= 10**8 for m in found.moves)


def test_returns_that_chance_explains_move_nothing():
    assert reallocate([Member("a", 10**8, 10**9, 3), Member("b", 10**8, 10**9, 2)]) is None


def test_exploration_stays_within_its_share_and_knows_its_cost():
    booked = Exploration()
    for block in range(3_000):
        tilt = tilt_for("c", block * 600_000, 0.1, booked)
        booked = book_block(booked, tilt, 1_000, 9.0 if tilt.explores else 10.0, 100.0)
    assert 0.05 < booked.explored_micros / booked.spend_micros <= 0.1 + 1e-3
    assert booked.cost_micros == booked.explored_micros // 10


def test_a_tilt_is_the_same_when_replayed():
    tilts = [tilt_for("c", t * 600_000, 0.2, Exploration(0, 10**9)) for t in range(200)]
    assert tilts == [tilt_for("c", t * 600_000 + 5, 0.2, Exploration(0, 10**9)) for t in range(200)]
    assert {t.factor for t in tilts} == {1.0, 1.0 + TILT, 1.0 - TILT}
    assert Tilt(1.0, False) in tilts


def test_the_breaker_bears_chance_but_not_silence():
    rng, breaker = np.random.default_rng(1), Breaker()
    for _ in range(5_000):
        breaker = watch_outcome(breaker, 0.5, int(rng.poisson(0.5)))
        assert not breaker.open
    for _ in range(200):
        breaker = watch_outcome(breaker, 0.5, 0)
    assert breaker.open
