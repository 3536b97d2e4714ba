"""What is won or in flight cannot be spent twice, and is let go in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.openrtb import reservations
from api.openrtb.reservations import BID_MS, WIN_MS, Reservations

C = ("default", "c")


def test_a_bid_is_held_until_its_outcome_is_known() -> None:
    held = Reservations()
    held.bid("b", C, 2_000, 0)
    assert held.held_micros(C) == 2_000
    held.close("b", 10)
    assert held.held_micros(C) == 0


def test_a_win_holds_its_price_instead_of_the_bid() -> None:
    held = Reservations()
    held.bid("b", C, 2_000, 0)
    held.win("b", C, 1_200, 10)
    assert held.held_micros(C) == 1_200


def test_the_same_win_twice_is_held_once() -> None:
    held = Reservations()
    held.win("b", C, 1_200, 0)
    held.win("b", C, 1_200, 5)
    assert held.held_micros(C) == 1_200


def test_a_bid_without_a_notice_is_let_go() -> None:
    held = Reservations()
    held.bid("b", C, 2_000, 0)
    held.expire(BID_MS)
    assert held.held_micros(C) == 0


def test_a_win_without_billing_is_let_go_later() -> None:
    held = Reservations()
    held.win("b", C, 2_000, 0)
    held.expire(BID_MS)
    assert held.held_micros(C) == 2_000
    held.expire(WIN_MS)
    assert held.held_micros(C) == 0


def test_memory_is_bounded() -> None:
    held = Reservations()
    for number in range(reservations.OPEN_MAX + 50):
        held.bid(str(number), C, 1, 0)
    held.expire(0)
    assert held.held_micros(C) == reservations.OPEN_MAX


steps = st.lists(
    st.tuples(st.sampled_from(["bid", "win", "close"]), st.integers(0, 5), st.integers(1, 99)), max_size=40
)


@given(steps)
def test_whatever_comes_in_whatever_order_nothing_is_held_below_zero_or_for_ever(
    moves: list[tuple[str, int, int]],
) -> None:
    held = Reservations()
    for at, (what, number, micros) in enumerate(moves):
        if what == "close":
            held.close(str(number), at)
        else:
            getattr(held, what)(str(number), C, micros, at)
        assert held.held_micros(C) >= 0
    held.expire(WIN_MS + len(moves))
    assert held.held_micros(C) == 0
