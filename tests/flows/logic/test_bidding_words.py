"""People's words on bids and decisions, as the dataflow acts on them."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.control import DecisionWordRecord, OverrideRecord
from schemas.decisions import Decision, Kind, named
from tests.flows.logic.market import Market
from tests.flows.logic.stream import definition, override
from tests.support.decisions import decision_of

T0 = 1_769_587_200_000
BIDDING: dict[str, Any] = {"strategy": "max_clicks", "bid_micros": 800_000, "learning_events": 0}


def market(budget: int = 60_000_000, **bidding: Any) -> Market:
    made = Market(T0)
    made.say(definition(daily_budget_micros=budget, bidding=BIDDING | bidding))
    return made


def word(said: str, decision: Decision, version: int = 1) -> DecisionWordRecord:
    return DecisionWordRecord(
        key=f"decision_word/o/{decision.decision_id}", org_id="o", campaign_id="a", version=version,
        changed_by="ana", changed_ms=0, decision_id=decision.decision_id, word=said,
    )  # fmt: skip


def bid_override(bid_micros: int | None, version: int) -> OverrideRecord:
    return OverrideRecord(
        key="override/o/a/bid", org_id="o", campaign_id="a", version=version, changed_by="ana", changed_ms=0,
        action="lift" if bid_micros is None else "set_bid", bid_micros=bid_micros,
    )  # fmt: skip


def bids(made: Market) -> list[Decision]:
    return [d for d in made.decisions if d.kind == Kind.SET_BID]


def test_a_persons_bid_stands_until_it_is_lifted() -> None:
    made = market().run(60)
    made.say(bid_override(2_000_000, 1))
    decided = made.decisions[-1]
    assert (decided.reason, decided.mode, decided.after.bid_micros) == ("manual_override", "auto", 2_000_000)
    count = len(bids(made))
    made.run(240)
    assert len(bids(made)) == count
    assert made.flow.live()["a"].bidding["bid_held"] == "override"
    made.say(bid_override(None, 2))
    made.run(240)
    after = bids(made)[count:]
    assert after
    assert after[0].before.bid_micros == 2_000_000


def test_a_lifted_manual_bid_goes_back_to_the_definition() -> None:
    made = market(strategy="manual", bid_micros=900_000)
    made.say(bid_override(2_000_000, 1))
    made.say(bid_override(None, 2))
    assert [d.after.bid_micros for d in bids(made)] == [900_000, 2_000_000, 900_000]
    made.say(definition(version=2, bidding=BIDDING | {"strategy": "manual", "bid_micros": 1_000_000}))
    assert bids(made)[-1].after.bid_micros == 1_000_000


def recommended(made: Market) -> Decision:
    """Run the market at the defined bid until a bid is recommended."""
    made.bid_micros = 800_000
    made.run(120)
    return next(d for d in reversed(bids(made)) if d.mode == "recommend")


def test_an_approved_recommendation_is_decided_anew_and_acts() -> None:
    made = market(mode="recommend")
    wanted = recommended(made)
    made.say(word("approve", wanted))
    acted = made.decisions[-1]
    assert (acted.mode, acted.after, acted.reason) == ("auto", wanted.after, wanted.reason)
    assert acted.inputs.approved == wanted.decision_id != acted.decision_id
    assert acted.before.bid_micros == 800_000
    count = len(made.decisions)
    made.say(word("approve", wanted, version=2))
    assert len(made.decisions) == count, "what is in force is not approved again"


def test_a_rejected_recommendation_is_not_made_again_while_nothing_changes() -> None:
    made = market(mode="recommend")
    wanted = recommended(made)
    made.say(word("reject", wanted))
    count = len(bids(made))
    made.run(240)
    again = bids(made)[count:]
    assert all(abs(d.after.bid_micros / wanted.after.bid_micros - 1.0) > 0.09 for d in again)
    made.say(word("approve", wanted, version=2))
    assert made.bid_micros == wanted.after.bid_micros, "a person may change their mind"


def test_an_undone_bid_is_put_back_and_left_alone() -> None:
    made = market().run(240)
    third = bids(made)[2]
    made.say(word("undo", third))
    back = made.decisions[-1]
    assert (back.reason, back.mode, back.after) == ("undo", "auto", third.before)
    assert back.inputs.undone == third.decision_id
    count = len(bids(made))
    made.run(240)
    assert len(bids(made)) == count
    assert made.flow.live()["a"].bidding["bid_held"] == "undo"
    made.say(word("undo", back))
    assert made.bid_micros == back.before.bid_micros
    made.run(240)
    assert len(bids(made)) > count + 1, "an undo that is undone lets automation go on"


def test_decisions_are_undone_any_number_of_steps_back() -> None:
    made = market().run(480)
    steps = bids(made)[1:]
    assert len(steps) > 3
    for decision in reversed(steps):
        made.say(word("undo", decision))
        assert made.bid_micros == decision.before.bid_micros
    assert made.bid_micros == 800_000


def test_the_first_bid_has_nothing_to_go_back_to() -> None:
    made = market()
    made.say(word("undo", made.decisions[0]))
    assert len(made.decisions) == 1


def test_a_pause_by_budget_cannot_be_undone() -> None:
    made = market(budget=1_000).run(10)
    assert not made.running
    pause = next(d for d in made.decisions if d.kind == Kind.PAUSE)
    made.say(word("undo", pause))
    made.run(10)
    assert not made.running


@pytest.mark.parametrize("strategy", ["manual", "max_clicks"])
def test_a_persons_pause_is_undone_and_that_undone_again(strategy: str) -> None:
    made = market(strategy=strategy)
    made.say(override("pause"))
    assert not made.running
    made.say(word("undo", made.decisions[-1]))
    assert made.running
    assert made.decisions[-1].reason == "undo"
    made.say(word("undo", made.decisions[-1]))
    assert not made.running
    made.say(override("resume", version=2))
    assert made.running


def test_words_survive_a_restart() -> None:
    made = market().run(240)
    third = bids(made)[2]
    made.say(bid_override(2_000_000, 1))
    made.flow.restart()
    made.say(word("undo", third))
    assert made.bid_micros == third.before.bid_micros


def test_a_word_on_a_decision_that_nobody_knows_changes_nothing() -> None:
    made = market().run(60)
    stranger = decision_of(
        decision_id="d0", org_id="o", campaign_id="a", kind="set_bid", reason="learning", ts_ms=0, effective_ms=0,
        before={}, after={"bid_micros": 1}, inputs={}, policy="",
    )  # fmt: skip
    count = len(made.decisions)
    for said in ("approve", "reject", "undo", "shout"):
        made.say(word(said, stranger))
    assert len(made.decisions) == count


def test_bids_name_the_click_rate_once_there_is_one() -> None:
    made = market()
    assert [d for d in bids(made) if "ctr" in named(d.inputs)] == []
    made.run(240)
    made.say(bid_override(2_000_000, 1))
    rate = made.decisions[-1].inputs.ctr
    assert 0 < rate < 1
