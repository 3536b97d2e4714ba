"""The newest word on each campaign: the same as was folded of control and decisions, wherever the stream was cut."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from flows.logic.output.serving import REPEAT_MS, STEP_PART, WORDS_MAX
from flows.logic.step import Step
from schemas import topics
from schemas.control import encode_control
from schemas.decisions import encode_decision
from schemas.log import Chunk
from schemas.serving import Serving, encode_serving
from tests.flows.logic.stream import Ev, Flow, Item, Tick, definition, override, steps_of
from tests.support.histories import START_MS, History
from tests.support.serving_fold import ServingFold

DAY_MS = 86_400_000


def words(flow: Flow) -> list[Serving]:
    return [word for output in flow.outputs for word in output.serving]


def newest(flow: Flow) -> dict[str, Serving]:
    """What a reader of the topic has, whatever the order in which it came."""
    states: dict[str, Serving] = {}
    for word in words(flow):
        if word.campaign_id not in states or states[word.campaign_id].seq <= word.seq:
            states[word.campaign_id] = word
    return states


def folded(history: History) -> dict[str, Serving]:
    """The states as they were folded of topics control and decisions before there was topic `serving`."""
    fold = ServingFold(lambda topic, error: pytest.fail(f"{topic}: {error}"))
    control = [encode_control(record) for record in history.records]
    for topic, records in ((topics.CONTROL, control), (topics.DECISIONS, map(encode_decision, history.decisions))):
        payload = b"".join(record + b"\n" for record in records)
        fold.take(Chunk(topic, 0, payload, 0, len(payload)))
    return {state.campaign_id: state for state in fold.snapshot()}


@pytest.mark.parametrize("seed", range(30))
def test_a_word_says_what_was_folded_of_control_and_decisions(seed: int) -> None:
    history = History(seed).run(60)
    said, before = newest(history.flow), folded(history)
    assert set(said) == set(before)
    for campaign, old in before.items():
        own = {"seq": 0, "spendable_micros": None, "pause_reason": None, "day_parts": None, "time_zone": "UTC"}
        assert msgspec.structs.replace(said[campaign], **own) == msgspec.structs.replace(old, **own), campaign


@pytest.mark.parametrize("seed", range(10))
def test_a_word_is_as_the_live_row(seed: int) -> None:
    history = History(seed).run(60)
    shard = history.flow.campaigns[0]
    for campaign, word in newest(history.flow).items():
        slot = next(slot for slot, key in shard.registry.campaigns.used() if key.campaign_id == campaign)
        reason = shard.ledger.standing(slot).reason
        assert word.pause_reason == (None if reason is None else reason.value)


@pytest.mark.parametrize("seed", range(10))
def test_words_do_not_hang_on_cuts_restarts_and_what_was_done_before(seed: int) -> None:
    history = History(seed).run(40)
    said = [encode_serving(word) for word in words(history.flow)]
    again = Flow()
    for place, step in enumerate(history.steps):
        # A snapshot falls anywhere, and a span may end behind any event.
        again.run(_cut(step, place % 3 + 1))
        if place % 7 == seed % 7:
            again.restart()
    assert [encode_serving(word) for word in words(again)] == said


def _cut(step: Step, events: int) -> list[Step]:
    batch = step.batch
    if batch is None:
        return [step]
    return [
        replace(
            step,
            first_offset=int(batch.position[rows[0]]),
            next_offset=int(batch.position[rows[-1]]) + 10,
            batch=batch.take(rows),
        )
        for rows in np.split(np.arange(len(batch)), range(events, len(batch), events))
    ]


def run(items: list[Item], flow: Flow | None = None) -> Flow:
    return (flow or Flow()).run(steps_of(items, span=100, now_ms=START_MS))


def test_what_is_left_to_spend_is_said_in_steps_of_an_eighth_however_many_events() -> None:
    budget = 1_000_000_000
    spend: list[Item] = []
    for number in range(4_000):
        spend.append(Ev(number, START_MS + number * 10, cost=200_000))
        if number % 5 == 4:
            spend.append(Tick(START_MS + number * 10))
    flow = run([Tick(START_MS, (definition(total_budget_micros=budget),)), *spend])
    left = [word.spendable_micros for word in words(flow)]
    assert left[0] == budget
    assert left == sorted(left, reverse=True)
    # A fifth is left: (7/8) ** 12
    assert 10 <= len(left) <= 14
    assert 200_000_000 <= left[-1] <= 200_000_000 * STEP_PART / (STEP_PART - 1)


def test_the_event_that_reaches_a_budget_says_so_and_the_next_day_says_that_there_is_room() -> None:
    flow = run([
        Tick(START_MS, (definition(daily_budget_micros=500_000),)),
        Ev(1, START_MS + 1, cost=300_000), Ev(2, START_MS + 2, cost=300_000), Ev(3, START_MS + 3, cost=300_000),
    ])  # fmt: skip
    word = newest(flow)["a"]
    assert (word.paused, word.pause_reason, word.spendable_micros) == (True, "daily_budget_reached", 0)
    assert word.decision_id == flow.decisions()[-1].decision_id
    run([Tick(START_MS + DAY_MS + 1)], flow)
    word = newest(flow)["a"]
    assert (word.paused, word.spendable_micros) == (False, 500_000)


def test_a_word_with_dates_and_day_parts_is_that_of_the_definition() -> None:
    bidding = {"strategy": "manual", "bid_micros": 5, "day_parts": [3, 1]}
    flow = run([Tick(START_MS, (definition(start_ms=START_MS, end_ms=START_MS + DAY_MS, bidding=bidding),))])
    word = newest(flow)["a"]
    assert (word.start_ms, word.end_ms, word.day_parts) == (START_MS, START_MS + DAY_MS, [1, 3])
    dry = definition(version=2, bidding=bidding | {"mode": "dry_run"})
    assert newest(run([Tick(START_MS + 1_000, (dry,))], flow))["a"].day_parts is None


def test_nothing_new_is_not_said_again_until_a_day_has_passed() -> None:
    flow = run([Tick(START_MS, (definition(),)), *(Tick(START_MS + n * 1_000) for n in range(1, 50))])
    assert len(words(flow)) == 1
    run([Tick(START_MS + REPEAT_MS + 2_000)], flow)
    first, second = words(flow)
    assert first.seq < second.seq
    assert msgspec.structs.replace(second, seq=first.seq) == first


def test_what_nobody_defined_has_no_word() -> None:
    assert words(run([Ev(1, START_MS, "b", cost=5), Tick(START_MS + 1_000)])) == []


def test_a_snapshot_from_before_the_topic_has_every_campaign_said_some_at_each_tick() -> None:
    defined = tuple(definition(f"c{n}", daily_budget_micros=1_000_000) for n in range(WORDS_MAX + 5))
    flow = run([Tick(START_MS, (*defined, override("pause", "c3")))])
    before = newest(flow)
    flow.restart(without="words")
    flow.outputs = []
    run([Tick(START_MS + 1_000)], flow)
    assert len(words(flow)) == WORDS_MAX
    run([Tick(START_MS + 2_000)], flow)
    assert len(words(flow)) == WORDS_MAX + 5
    after = newest(flow)
    assert all(after[name].seq > word.seq for name, word in before.items())
    assert {n: msgspec.structs.replace(w, seq=0) for n, w in after.items()} == {
        n: msgspec.structs.replace(w, seq=0) for n, w in before.items()
    }


def test_a_topic_that_has_nothing_is_told_everything_under_higher_numbers() -> None:
    flow = run([Tick(START_MS, (definition(), definition("b")))])
    flow.campaigns[0].words.forget()
    run([Tick(START_MS)], flow)
    first, second = {w.campaign_id: w for w in words(flow)[:2]}, {w.campaign_id: w for w in words(flow)[2:]}
    assert set(first) == set(second) == {"a", "b"}
    assert all(second[name].seq > first[name].seq for name in first)
